"""The weighted sum of candidates, chunk by chunk, and its gradients; what it is for stands in ``nasreg.nn.fused``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from nasreg.nn import kernels, norms
from nasreg.nn.kernels import Geometry, input_gradient, layout, weight_gradient
from nasreg.nn.norms import Affine, Normalisation, Statistics, Sums, wide

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

    def norm_before(self, stage: int) -> Norm | None:
        """Return the BatchNorm that a row begins with; the end counts as a row."""
        return self.rows[stage].norm if stage < len(self.rows) else self.norm

    def weight_at(self, stage: int) -> int | None:
        """Return the place of the weight, where it is folded into the BatchNorm that a row begins with."""
        return self.weight if stage == len(self.rows) else None


class Stage(NamedTuple):
    """What a row, or the end of a term, takes."""

    chunks: Sequence[Tensor]
    norm: Normalisation | None
    """Where a BatchNorm comes first; at the end with the weight in its scale and shift."""
    inputs: list[list[Tensor]]
    """What the convolutions of the row take, for each chunk; empty where it is not kept."""


class Passed(NamedTuple):
    """What a pass back through a BatchNorm found. Where it is kept, the gradients are there, in chunks."""

    sums: Sums
    by_output: list[Tensor]
    """Kept where a row begins with the BatchNorm."""
    by_input: list[Tensor]
    """Kept where there is a row before it."""


class Computation:
    """One pass, forward or backward.

    Args:
        terms: Of the sum.
        inputs: What their places mean.
        keep: Keep what the second derivative would compute again.

    Attributes:
        stages: Of each term, what each of its rows takes, and its end.
        passed: By term and row, what a pass back has found.
        needs: By which inputs a gradient is wanted.
        found: Those gradients, as far as they are known.
    """

    def __init__(self, terms: Sequence[Term], inputs: Sequence[Tensor], *, keep: bool) -> None:
        self.terms, self.inputs, self.keep = terms, inputs, keep
        sources = [inputs[source] for source in dict.fromkeys(term.source for term in terms)]
        self.dtype = sources[0].dtype
        self.images = max(len(sources[0]), 1)
        if sources[0].device.type == "cpu" and len(sources[0]) > 0:
            largest = max(x.element_size() * x[0].numel() for x in sources)
            self.images = max(1, round(CHUNK_BYTES / largest))
        self.by_source: dict[int, list[int]] = {}
        for number, term in enumerate(terms):
            self.by_source.setdefault(term.source, []).append(number)
        self.stages: list[list[Stage]] = [[] for _ in terms]
        self.passed: dict[tuple[int, int], Passed] = {}
        self.want([False] * len(inputs))

    def want(self, needs: Sequence[bool]) -> None:
        """Begin a pass back: say by which inputs a gradient is wanted."""
        self.needs = needs
        self.found: list[Tensor | None] = [None] * len(self.inputs)

    def split(self, x: Tensor) -> Sequence[Tensor]:
        """Cut a batch into chunks."""
        return torch.split(x, self.images)

    def pack(self) -> list[Tensor]:
        """Return the tensors that the backward pass needs."""
        packed: list[Tensor] = []
        for term, stages in zip(self.terms, self.stages, strict=True):
            for number, stage in enumerate(stages):
                packed += stage.chunks if number else []  # the source is an input
                packed += stage.norm.statistics if stage.norm else []
                for inputs in stage.inputs:
                    packed += inputs[self._first_made(term.rows[number]) :]
        return packed

    def unpack(self, packed: Sequence[Tensor]) -> None:
        """Take the tensors that ``pack`` returned."""
        left = iter(packed)
        for number, term in enumerate(self.terms):
            chunks = self.split(self.inputs[term.source])
            for stage in range(len(term.rows) + 1):
                chunks = [next(left) for _ in chunks] if stage else chunks
                statistics = Statistics(next(left), next(left)) if term.norm_before(stage) else None
                taken = self._stage(term, stage, chunks, statistics)
                if self.keep and stage < len(term.rows):
                    row = term.rows[stage]
                    first = self._first_made(row)
                    for chunk in chunks:
                        taken.inputs.append([*[chunk][:first], *(next(left) for _ in row.weights[first:])])
                self.stages[number].append(taken)

    @staticmethod
    def _first_made(row: Row) -> int:
        """Return which of the inputs of the convolutions of a row is the first that is not the row's own."""
        return 0 if row.norm or row.relu else 1

    def pack_passed(self) -> tuple[dict[tuple[int, int], tuple[int, int]], list[Tensor]]:
        """Return what a pass back has found: the numbers of chunks that are kept, and the tensors."""
        sizes = {key: (len(passed.by_output), len(passed.by_input)) for key, passed in self.passed.items()}
        return sizes, [tensor for passed in self.passed.values() for part in passed for tensor in part]

    def unpack_passed(self, sizes: dict[tuple[int, int], tuple[int, int]], packed: Sequence[Tensor]) -> None:
        """Take what ``pack_passed`` returned."""
        left = iter(packed)
        for key, (by_output, by_input) in sizes.items():
            sums = Sums(next(left), next(left))
            kept = [[next(left) for _ in range(size)] for size in (by_output, by_input)]
            self.passed[key] = Passed(sums, *kept)

    def _stage(self, term: Term, stage: int, chunks: Sequence[Tensor], statistics: Statistics | None) -> Stage:
        norm = term.norm_before(stage)
        if norm is None or statistics is None:
            return Stage(chunks, None, [])
        affine = self._affine(norm, term.weight_at(stage))
        return Stage(chunks, Normalisation(statistics, affine, norms.count(chunks)), [])

    def _affine(self, norm: Norm, weight: int | None) -> Affine:
        scale, shift = (None if place is None else self.inputs[place] for place in (norm.scale, norm.shift))
        if weight is None:
            return Affine(scale, shift)
        return norms.weighted(self.inputs[weight].to(self.dtype), Affine(scale, shift), norm.module.num_features)

    # Forward.

    def forward(self) -> Tensor:
        """Return the sum, and fill ``stages``."""
        for source, numbers in self.by_source.items():
            self._leave(self.split(self.inputs[source]), numbers)
        for number, term in enumerate(self.terms):
            for stage in range(1, len(term.rows)):
                outputs = [self._row(term, stage, self.stages[number][stage], c) for c in self._chunks()]
                self._note(number, outputs)
        return self._add()

    def _chunks(self) -> range:
        return range(len(self.stages[0][0].chunks))

    def _leave(self, chunks: Sequence[Tensor], numbers: Sequence[int]) -> None:
        """Compute the first rows of all terms of one source, so that each chunk of it is read once."""
        outputs: dict[int, list[Tensor]] = {number: [] for number in numbers if self.terms[number].rows}
        for number in numbers:
            self._note(number, chunks)
        for c in range(len(chunks)):
            for number, made in outputs.items():
                made.append(self._row(self.terms[number], 0, self.stages[number][0], c))
        for number, made in outputs.items():
            self._note(number, made)

    def _note(self, number: int, chunks: Sequence[Tensor]) -> None:
        term, stages = self.terms[number], self.stages[number]
        norm = term.norm_before(len(stages))
        statistics = norms.statistics(chunks, norm.module) if norm else None
        stages.append(self._stage(term, len(stages), chunks, statistics))

    def _row(self, term: Term, number: int, taken: Stage, c: int) -> Tensor:
        row = term.rows[number]
        inputs = self.row_inputs(row, taken, c, real=True)
        if self.keep:
            taken.inputs.append(inputs)
        return kernels.forward(inputs[-1], self.inputs[row.weights[-1]], row.geometries[-1])

    def _activation(self, row: Row, taken: Stage, c: int) -> Tensor:
        """Return what the first convolution of a row takes, for one chunk."""
        x = taken.chunks[c]
        if taken.norm is None:
            return torch.relu(x) if row.relu else x
        x = taken.norm.line.of(x)
        return x.relu_() if row.relu else x

    def _add(self) -> Tensor:
        parts: list[tuple[Sequence[Tensor], Tensor]] = []
        shifts: list[Tensor] = []
        for term, stages in zip(self.terms, self.stages, strict=True):
            chunks, norm, _ = stages[-1]
            if norm is not None:
                parts.append((chunks, wide(norm.line.factor)))
                shifts.append(norm.line.shift)
            else:
                parts.append((chunks, self.inputs[term.weight].to(chunks[0].dtype)))
        return self.add_all(parts, shifts)

    def add_all(self, parts: Sequence[tuple[Sequence[Tensor], Tensor]], shifts: Sequence[Tensor]) -> Tensor:
        """Return the sum of images in chunks, each times a factor, and of shifts by channel."""
        first = parts[0][0]
        size = (sum(map(len, first)), *first[0].shape[1:])
        total = torch.empty(size, dtype=first[0].dtype, device=first[0].device, memory_format=layout(first[0]))
        shift = wide(torch.stack(list(shifts)).sum(0)) if shifts else total.new_zeros(())
        for c, out in enumerate(self.split(total)):
            torch.addcmul(shift, first[c], parts[0][1], out=out)
            for chunks, factor in parts[1:]:
                out.addcmul_(chunks[c], factor)
        return total

    # Backward.

    def backward(self, gradient: Tensor, needs: Sequence[bool]) -> list[Tensor | None]:
        """Return the gradient by each input that needs one."""
        self.want(needs)
        out = self.output_chunks(gradient)
        for source, numbers in self.by_source.items():
            parts = [part for number in numbers if (part := self._by_source_of(number, out)) is not None]
            self.found[source] = self.gather(parts, wanted=needs[source])
        return self.found

    def output_chunks(self, x: Tensor) -> Sequence[Tensor]:
        """Return the chunks of an image tensor like the output, in the layout that terms have."""
        return self.split(x.contiguous(memory_format=layout(self.stages[0][-1].chunks[0])))

    def gather(self, parts: Sequence[Callable[[int], Tensor | None]], *, wanted: bool) -> Tensor | None:
        """Return the sum of what the terms of a source give back to it.

        Args:
            parts: Each gives that of one term for a chunk. They are called also where the sum is not wanted, since they
                find the gradients by parameters on the way.
            wanted: Whether the sum is.
        """
        found: list[Tensor | None] = []
        for c in self._chunks() if parts else ():
            total: Tensor | None = None
            for part in parts:
                by_chunk = part(c)
                if by_chunk is not None:
                    total = by_chunk if total is None else total.add_(by_chunk)
            found.append(total if wanted else None)
        chunks = [chunk for chunk in found if chunk is not None]
        if len(chunks) < 2:
            return chunks[0] if chunks else None
        return torch.cat(chunks)

    def needed(self, term: Term) -> list[bool]:
        """Return whether a gradient is needed of the source of a term, and of the parameters of each of its rows."""
        needed = [self.needs[term.source]]
        for row in term.rows:
            affine = (row.norm.scale, row.norm.shift) if row.norm else ()
            needed.append(any(self.needs[place] for place in (*row.weights, *affine) if place is not None))
        return needed

    def _by_source_of(self, number: int, out: Sequence[Tensor]) -> Callable[[int], Tensor | None] | None:
        """Return what gives, chunk by chunk, the gradient by the source of a term; parameters get theirs on the way."""
        term, stages = self.terms[number], self.stages[number]
        weight = self.inputs[term.weight].to(out[0].dtype)
        end = stages[-1]

        def scaled(c: int) -> Tensor:
            return out[c] * weight

        by_stage: Callable[[int], Tensor | None] = scaled
        if end.norm is not None:
            by_stage = self._through_norm(number, len(term.rows), out)
        elif self.needs[term.weight]:
            products = [inner(a, b) for a, b in zip(out, end.chunks, strict=True)]
            self.give(term.weight, torch.stack(products).sum())
        needed = self.needed(term)
        for stage in reversed(range(len(term.rows))):
            row, taken = term.rows[stage], stages[stage]
            if not any(needed[: stage + 2]):
                return None
            by_stage = partial(self._through_row, row, taken, by_stage)
            if row.norm is not None:
                kept = [cast("Tensor", by_stage(c)) for c in self._chunks()]  # its sums are over the whole batch
                by_stage = self._through_norm(number, stage, kept)
        return by_stage if any(needed) else None

    def _through_norm(self, number: int, stage: int, gradients: Sequence[Tensor]) -> Callable[[int], Tensor]:
        """Go back through the BatchNorm that a row begins with, and through the weight that is folded into it."""
        term, taken = self.terms[number], self.stages[number][stage]
        assert taken.norm is not None  # noqa: S101  # who asks knows
        sums = norms.sums(gradients, taken.chunks, taken.norm.statistics)
        passed = Passed(sums, list(gradients) if self.keep and stage < len(term.rows) else [], [])
        self.passed[number, stage] = passed
        self._give_affine(term, stage, sums)
        back = taken.norm.back(sums)

        def through(c: int) -> Tensor:
            by_input = back.of(gradients[c], taken.chunks[c])
            if self.keep and stage:
                passed.by_input.append(by_input)
            return by_input

        return through

    def _give_affine(self, term: Term, stage: int, sums: Sums) -> None:
        """Add to the gradients by scale and shift of a BatchNorm, and by the weight that is folded into it."""
        norm, place = term.norm_before(stage), term.weight_at(stage)
        assert norm is not None  # noqa: S101  # who asks knows
        weight = None if place is None else self.inputs[place].to(sums.scale.dtype)
        for parameter, by_parameter in ((norm.scale, sums.scale), (norm.shift, sums.shift)):
            if parameter is not None:
                self.give(parameter, by_parameter if weight is None else weight * by_parameter)
        if place is not None:
            self.give(place, norms.by_weight(sums, *(self._input(each) for each in (norm.scale, norm.shift))))

    def _input(self, place: int | None) -> Tensor | None:
        return None if place is None else self.inputs[place]

    def _through_row(self, row: Row, taken: Stage, by_output: Callable[[int], Tensor | None], c: int) -> Tensor | None:
        """Go back through the convolutions and the ReLU of a row, for one chunk."""
        gradient = by_output(c)
        assert gradient is not None  # noqa: S101  # only the first row's may be none
        inputs = self.row_inputs(row, taken, c, real=any(self.needs[place] for place in row.weights))
        for x, place, geometry in reversed(list(zip(inputs, row.weights, row.geometries, strict=True))):
            if self.needs[place]:
                self.give(place, weight_gradient(gradient, x, self.inputs[place], geometry))
            gradient = input_gradient(gradient, x, self.inputs[place], geometry)
        return torch.ops.aten.threshold_backward(gradient, inputs[0], 0) if row.relu else gradient

    def row_inputs(self, row: Row, taken: Stage, c: int, *, real: bool) -> list[Tensor]:
        """Return what the convolutions of a row take, for one chunk.

        Args:
            row: The row.
            taken: What it takes.
            c: Which chunk.
            real: Otherwise the first is good for its sign only, and the others for their shapes.
        """
        if c < len(taken.inputs):
            return taken.inputs[c]
        first = self._activation(row, taken, c) if real or row.norm is not None else taken.chunks[c]
        inputs = [first]
        for place, geometry in zip(row.weights[:-1], row.geometries, strict=False):
            make = kernels.forward if real else kernels.blank
            inputs.append(make(inputs[-1], self.inputs[place], geometry))
        return inputs

    def give(self, place: int, gradient: Tensor) -> None:
        """Add to the gradient by an input."""
        if not self.needs[place]:
            return
        before = self.found[place]
        gradient = gradient.to(self.inputs[place].dtype)
        self.found[place] = gradient if before is None else before + gradient


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of two tensors of one layout."""
    if a.dim() == 4 and layout(a) == layout(b) == torch.channels_last:
        a, b = a.permute(0, 2, 3, 1), b.permute(0, 2, 3, 1)
    return torch.dot(a.reshape(-1), b.reshape(-1))
