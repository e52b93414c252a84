"""The weighted sum of one node of a supernet as one function, which goes through memory as seldom as it can.

On a CPU the operations of a supernet are limited by memory, not by arithmetic. So the batch is taken in chunks that
stay in the cache, and each chunk goes through all that can be done with it: convolutions in a row, the sums that
BatchNorm needs of what they give, the addition to what other candidates gave. For the backward pass only the inputs of
BatchNorms are kept; what lies between them is computed again, chunk by chunk.

The formulas of BatchNorm are those of Ioffe and Szegedy (arXiv 1502.03167), with the weight of a candidate as a factor
of the scale of its last one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasreg.nn import kernels
from nasreg.nn.kernels import Geometry, convolve, input_gradient, weight_gradient

CHUNK_BYTES = 2**22
"""About so large is a chunk of an image tensor on a CPU; on other devices the batch is one chunk."""


@dataclass(frozen=True)
class Norm:
    """A BatchNorm in training, by the places of its scale and shift among the inputs (None: not affine)."""

    module: nn.BatchNorm2d
    scale: int | None
    shift: int | None


@dataclass(frozen=True)
class Row:
    """Convolutions one after the other, with what comes before them."""

    norm: Norm | None
    relu: bool
    weights: tuple[int, ...]
    geometries: tuple[Geometry, ...]


@dataclass(frozen=True)
class Term:
    """A candidate: rows of convolutions, a BatchNorm in the end; of neither there need be any."""

    weight: int
    source: int
    rows: tuple[Row, ...]
    norm: Norm | None


@dataclass
class Terms:
    """The terms of a sum, and the tensors that they are made of.

    Attributes:
        inputs: What the places in terms mean.
    """

    inputs: list[Tensor] = field(default_factory=list)
    terms: list[Term] = field(default_factory=list)
    _places: dict[int, int] = field(default_factory=dict)

    def place(self, tensor: Tensor) -> int:
        """Return the place of a tensor among the inputs."""
        if id(tensor) not in self._places:
            self._places[id(tensor)] = len(self.inputs)
            self.inputs.append(tensor)
        return self._places[id(tensor)]

    def norm(self, module: nn.BatchNorm2d) -> Norm:
        """Take a BatchNorm."""
        scale, shift = (None if p is None else self.place(p) for p in (module.weight, module.bias))
        return Norm(module, scale, shift)

    def sum(self) -> Tensor:
        """Compute the sum."""
        return cast("Tensor", _Sum.apply(self, *self.inputs))

    def plain_sum(self, inputs: Sequence[Tensor]) -> Tensor:
        """Compute the sum of other inputs in torch's own operations; running statistics stay as they are."""
        total: Tensor | None = None
        for term in self.terms:
            x = inputs[term.source]
            for row in term.rows:
                if row.norm is not None:
                    x = _plain_norm(x, row.norm, inputs, None)
                x = torch.relu(x) if row.relu else x
                for place, geometry in zip(row.weights, row.geometries, strict=True):
                    x = convolve(x, inputs[place], geometry)
            weight = inputs[term.weight]
            part = weight * x if term.norm is None else _plain_norm(x, term.norm, inputs, weight)
            total = part if total is None else total + part
        assert total is not None  # noqa: S101  # there is a term
        return total


def _plain_norm(x: Tensor, norm: Norm, inputs: Sequence[Tensor], weight: Tensor | None) -> Tensor:
    scale = None if norm.scale is None else inputs[norm.scale]
    shift = None if norm.shift is None else inputs[norm.shift]
    if weight is not None:
        scale, shift = folded(weight, scale, shift, x.shape[1])
    return F.batch_norm(x, None, None, scale, shift, True, 0.0, norm.module.eps)


def folded(weight: Tensor, scale: Tensor | None, shift: Tensor | None, channels: int) -> tuple[Tensor, Tensor | None]:
    """Return scale and shift of a BatchNorm whose output is to be multiplied by a weight.

    Args:
        weight: A scalar.
        scale: ``(channels,)``, or None for ones.
        shift: ``(channels,)``, or None for zeros.
        channels: Number of channels.
    """
    # In memory as such: the backward kernel of the CPU reads the scale past its strides.
    scale = weight.expand(channels).contiguous() if scale is None else weight * scale
    return scale, None if shift is None else weight * shift


class _Statistics(NamedTuple):
    """Mean and inverse standard deviation of each channel of a batch."""

    mean: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, chunks: Sequence[Tensor], norm: Norm) -> _Statistics:
        """Compute those of all chunks, and note them in the running statistics of the module."""
        each = [torch.ops.aten.batch_norm_update_stats(chunk, None, None, 0.0) for chunk in chunks]
        mean, variance = each[0]
        if len(each) > 1:
            shares = [len(chunk) / sum(map(len, chunks)) for chunk in chunks]
            mean = sum((share * m for share, (m, _) in zip(shares, each, strict=True)), torch.zeros_like(mean))
            variance = sum(
                (share * (v + (m - mean) ** 2) for share, (m, v) in zip(shares, each, strict=True)),
                torch.zeros_like(variance),
            )
        n = sum(chunk.numel() for chunk in chunks) // chunks[0].shape[1]
        note_statistics(norm.module, mean, variance, n)
        return cls(mean, (variance + norm.module.eps).rsqrt())


def note_statistics(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, n: int) -> None:
    """Move the running statistics of a BatchNorm as a pass in training does.

    Args:
        norm: The module.
        mean: Of each channel of the batch.
        variance: The same, with n in its denominator.
        n: Number of values of a channel.
    """
    if not norm.track_running_stats or norm.running_mean is None or norm.running_var is None:
        return
    with torch.no_grad():
        norm.running_mean.lerp_(mean, norm.momentum or 0.0)
        norm.running_var.lerp_(variance * (n / (n - 1)), norm.momentum or 0.0)
    count_batch(norm)


def count_batch(norm: nn.BatchNorm2d) -> None:
    """Count a batch of training, where a BatchNorm does that."""
    if norm.track_running_stats and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, terms: Terms, *inputs: Tensor) -> Tensor:
        computation = _Computation(terms.terms, inputs)
        total = computation.forward()
        ctx.terms = terms
        ctx.save_for_backward(*inputs, *computation.pack())
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        terms: Terms = ctx.terms
        count = len(terms.inputs)
        kept = ctx.saved_tensors  # torch's checkpoints give them once only
        inputs, packed = kept[:count], kept[count:]
        needs = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled():  # it is to be differentiated again
            # Views, since one input may have been made of another: each gets the derivative by itself only.
            views = [each.view_as(each) for each in inputs]
            wanted = [view for view, need in zip(views, needs, strict=True) if need]
            found = iter(torch.autograd.grad(terms.plain_sum(views), wanted, gradients, create_graph=True))
            return None, *(next(found) if need else None for need in needs)
        computation = _Computation(terms.terms, inputs)
        computation.unpack(packed)
        return None, *computation.backward(gradients[0], needs)


class _Stage(NamedTuple):
    """What a row, or the end of a term, takes."""

    chunks: Sequence[Tensor]
    statistics: _Statistics | None
    """Where a BatchNorm comes first."""


class _Computation:
    """One pass, forward or backward.

    Attributes:
        stages: Of each term, what each of its rows takes, and its end.
    """

    def __init__(self, terms: Sequence[Term], inputs: Sequence[Tensor]) -> None:
        self.terms, self.inputs = terms, inputs
        sources = [inputs[source] for source in dict.fromkeys(term.source for term in terms)]
        self.images = max(len(sources[0]), 1)
        if sources[0].device.type == "cpu" and len(sources[0]) > 0:
            largest = max(x.element_size() * x[0].numel() for x in sources)
            self.images = max(1, round(CHUNK_BYTES / largest))
        self.by_source: dict[int, list[int]] = {}
        for number, term in enumerate(terms):
            self.by_source.setdefault(term.source, []).append(number)
        self.stages: list[list[_Stage]] = [[] for _ in terms]

    def split(self, x: Tensor) -> Sequence[Tensor]:
        """Cut a batch into chunks."""
        return torch.split(x, self.images)

    def norm_before(self, number: int, stage: int) -> Norm | None:
        """Return the BatchNorm that a stage of a term begins with."""
        term = self.terms[number]
        return term.rows[stage].norm if stage < len(term.rows) else term.norm

    def pack(self) -> list[Tensor]:
        """Return the tensors that the backward pass needs."""
        packed: list[Tensor] = []
        for stages in self.stages:
            for number, stage in enumerate(stages):
                packed += stage.chunks if number else []  # the source is an input
                packed += stage.statistics or []
        return packed

    def unpack(self, packed: Sequence[Tensor]) -> None:
        """Take the tensors that ``pack`` returned."""
        left = iter(packed)
        for number, term in enumerate(self.terms):
            first = self.split(self.inputs[term.source])
            for stage in range(len(term.rows) + 1):
                chunks = [next(left) for _ in first] if stage else first
                norm = self.norm_before(number, stage)
                statistics = _Statistics(next(left), next(left)) if norm else None
                self.stages[number].append(_Stage(chunks, statistics))

    # Forward.

    def forward(self) -> Tensor:
        """Return the sum, and fill ``stages``."""
        for source, numbers in self.by_source.items():
            self._leave(self.split(self.inputs[source]), numbers)
        for number, term in enumerate(self.terms):
            for stage in range(1, len(term.rows)):
                taken = self.stages[number][stage]
                outputs = [self._row(term.rows[stage], chunk, taken.statistics) for chunk in taken.chunks]
                self._note(number, outputs)
        return self._add()

    def _leave(self, chunks: Sequence[Tensor], numbers: Sequence[int]) -> None:
        """Compute the first rows of all terms of one source, so that each chunk of it is read once."""
        outputs: dict[int, list[Tensor]] = {number: [] for number in numbers if self.terms[number].rows}
        for number in numbers:
            self._note(number, chunks)
        for chunk in chunks:
            for number, made in outputs.items():
                made.append(self._row(self.terms[number].rows[0], chunk, self.stages[number][0].statistics))
        for number, made in outputs.items():
            self._note(number, made)

    def _note(self, number: int, chunks: Sequence[Tensor]) -> None:
        norm = self.norm_before(number, len(self.stages[number]))
        self.stages[number].append(_Stage(chunks, _Statistics.of(chunks, norm) if norm else None))

    def _row(self, row: Row, x: Tensor, statistics: _Statistics | None) -> Tensor:
        x = self._activation(row, x, statistics)
        for place, geometry in zip(row.weights, row.geometries, strict=True):
            x = kernels.forward(x, self.inputs[place], geometry)
        return x

    def _activation(self, row: Row, x: Tensor, statistics: _Statistics | None) -> Tensor:
        """Return what the first convolution of a row takes."""
        if row.norm is None or statistics is None:
            return torch.relu(x) if row.relu else x
        factor, shift = self._line(row.norm, statistics)
        x = torch.addcmul(_wide(shift), x, _wide(factor))
        return x.relu_() if row.relu else x

    def _line(self, norm: Norm, statistics: _Statistics) -> tuple[Tensor, Tensor]:
        """Return a BatchNorm as ``factor * x + shift``, by channel."""
        factor = statistics.inverse if norm.scale is None else statistics.inverse * self.inputs[norm.scale]
        shift = -statistics.mean * factor
        return factor, shift if norm.shift is None else shift + self.inputs[norm.shift]

    def _add(self) -> Tensor:
        parts: list[tuple[Sequence[Tensor], Tensor]] = []
        shifts: list[Tensor] = []
        for term, stages in zip(self.terms, self.stages, strict=True):
            chunks, statistics = stages[-1]
            weight = self.inputs[term.weight].to(chunks[0].dtype)
            if term.norm is not None and statistics is not None:
                factor, shift = self._line(term.norm, statistics)
                parts.append((chunks, _wide(weight * factor)))
                shifts.append(weight * shift)
            else:
                parts.append((chunks, weight))
        first = parts[0][0]
        size = (sum(map(len, first)), *first[0].shape[1:])
        total = torch.empty(size, dtype=first[0].dtype, device=first[0].device, memory_format=_layout(first[0]))
        shift = _wide(torch.stack(shifts).sum(0)) if shifts else total.new_zeros(())
        for c, out in enumerate(self.split(total)):
            torch.addcmul(shift, first[c], parts[0][1], out=out)
            for chunks, factor in parts[1:]:
                out.addcmul_(chunks[c], factor)
        return total

    # Backward.

    def backward(self, gradient: Tensor, needs: Sequence[bool]) -> list[Tensor | None]:
        """Return the gradient by each input that needs one."""
        found: list[Tensor | None] = [None] * len(needs)
        self.needs, self.found = needs, found
        for source in self.by_source:
            if needs[source]:
                x = self.inputs[source]
                found[source] = torch.empty_like(x)
        out = self.split(gradient.contiguous(memory_format=_layout(self.stages[0][-1].chunks[0])))
        for source, numbers in self.by_source.items():
            by_source = found[source]
            parts = [part for number in numbers if (part := self._by_source_of(number, out)) is not None]
            places = self.split(by_source) if by_source is not None else None
            for c in range(len(out)):
                total: Tensor | None = None
                for part in parts:
                    by_chunk = part(c)
                    total = by_chunk if total is None or by_chunk is None else total.add_(by_chunk)
                if places is not None and total is not None:
                    places[c].copy_(total)
        return found

    def _by_source_of(self, number: int, out: Sequence[Tensor]) -> Callable[[int], Tensor | None] | None:
        """Return what gives, chunk by chunk, the gradient by the source of a term; parameters get theirs on the way."""
        term, stages = self.terms[number], self.stages[number]
        weight = self.inputs[term.weight].to(out[0].dtype)
        end = stages[-1]

        def scaled(c: int) -> Tensor:
            return out[c] * weight

        by_stage: Callable[[int], Tensor | None] = scaled
        if term.norm is not None and end.statistics is not None:
            by_stage = self._through_norm(term.norm, end, out, term.weight)
        elif self.needs[term.weight]:
            products = [_inner(a, b) for a, b in zip(out, end.chunks, strict=True)]
            self._give(term.weight, torch.stack(products).sum())
        needed = [self.needs[term.source]]
        for row in term.rows:
            affine = (row.norm.scale, row.norm.shift) if row.norm else ()
            needed.append(any(self.needs[place] for place in (*row.weights, *affine) if place is not None))
        for stage in reversed(range(len(term.rows))):
            row, taken = term.rows[stage], stages[stage]
            if not any(needed[: stage + 2]):
                return None
            by_stage = partial(self._through_row, row, taken, by_stage)
            if row.norm is not None:
                kept = [cast("Tensor", by_stage(c)) for c in range(len(out))]  # its sums are over the whole batch
                by_stage = self._through_norm(row.norm, taken, kept, None)
        return by_stage if any(needed) else None

    def _through_norm(
        self, norm: Norm, taken: _Stage, gradients: Sequence[Tensor], weight: int | None
    ) -> Callable[[int], Tensor]:
        """Go back through a BatchNorm, and through the weight that is folded into it."""
        assert taken.statistics is not None  # noqa: S101  # there is a BatchNorm
        mean, inverse = taken.statistics
        sums = [
            torch.ops.aten.native_batch_norm_backward(
                gradient, chunk, None, None, None, mean, inverse, True, norm.module.eps, [False, True, True]
            )[1:]
            for gradient, chunk in zip(gradients, taken.chunks, strict=True)
        ]
        by_scale, by_shift = (torch.stack(each).sum(0) for each in zip(*sums, strict=True))
        scale = None if norm.scale is None else self.inputs[norm.scale]
        factor = inverse if scale is None else inverse * scale
        outer: Tensor | None = None
        if weight is not None:
            outer = self.inputs[weight].to(factor.dtype)
            factor = outer * factor
            shift = None if norm.shift is None else self.inputs[norm.shift]
            whole = (by_scale if scale is None else by_scale * scale).sum()
            self._give(weight, whole if shift is None else whole + (by_shift * shift).sum())
        if norm.scale is not None:
            self._give(norm.scale, by_scale if outer is None else outer * by_scale)
        if norm.shift is not None:
            self._give(norm.shift, by_shift if outer is None else outer * by_shift)
        n = sum(chunk.numel() for chunk in taken.chunks) // len(mean)
        along = -factor * inverse * by_scale / n
        constant = -factor * by_shift / n - along * mean

        def through(c: int) -> Tensor:
            line = torch.addcmul(_wide(constant), taken.chunks[c], _wide(along))
            return line.addcmul_(gradients[c], _wide(factor))

        return through

    def _through_row(self, row: Row, taken: _Stage, by_output: Callable[[int], Tensor | None], c: int) -> Tensor | None:
        """Go back through the convolutions and the ReLU of a row, for one chunk."""
        gradient = by_output(c)
        assert gradient is not None  # noqa: S101  # only the first row's may be none
        first = self._activation(row, taken.chunks[c], taken.statistics)
        inputs = [first]
        for place, geometry in zip(row.weights[:-1], row.geometries, strict=False):
            inputs.append(kernels.forward(inputs[-1], self.inputs[place], geometry))
        for x, place, geometry in reversed(list(zip(inputs, row.weights, row.geometries, strict=True))):
            if self.needs[place]:
                self._give(place, weight_gradient(gradient, x, self.inputs[place], geometry))
            gradient = input_gradient(gradient, x, self.inputs[place], geometry)
        return torch.ops.aten.threshold_backward(gradient, first, 0) if row.relu else gradient

    def _give(self, place: int, gradient: Tensor) -> None:
        """Add to the gradient by an input."""
        if not self.needs[place]:
            return
        before = self.found[place]
        gradient = gradient.to(self.inputs[place].dtype)
        self.found[place] = gradient if before is None else before.add_(gradient)


def _wide(channels: Tensor) -> Tensor:
    return channels[:, None, None]


def _layout(x: Tensor) -> torch.memory_format:
    last = x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of two tensors of one layout."""
    if a.dim() == 4 and _layout(a) == _layout(b) == torch.channels_last:
        a, b = a.permute(0, 2, 3, 1), b.permute(0, 2, 3, 1)
    return torch.dot(a.reshape(-1), b.reshape(-1))
