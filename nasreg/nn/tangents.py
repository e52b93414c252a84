"""The second derivative of the weighted sum of candidates, chunk by chunk; see ``nasreg.nn.fused``.

The gradients of the sum are a function of the output's gradient and of the inputs. Going back through that function,
with a tangent for each gradient, asks for the derivative of the product of the output's gradient with how the sum moves
when the inputs move along the tangents. By the output's gradient it is that movement of the sum, and by the inputs it
is the movement of their gradients (forward over reverse; Pearlmutter, "Fast exact multiplication by the Hessian",
Neural Computation 6, 1994). So there is a pass forward and one back, each with the movement of what the first
derivative's pass computes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from nasreg.nn import kernels, norms
from nasreg.nn.kernels import Geometry, input_gradient, layout, weight_gradient
from nasreg.nn.norms import Affine, Drift, Sums, wide
from nasreg.nn.passes import Computation, Term, inner


class _Moved(NamedTuple):
    """How the input of a row, or of the end of a term, moves."""

    chunks: Sequence[Tensor] | None
    """None if it does not."""
    drift: Drift | None
    """Where a BatchNorm comes first and the input moves."""


class _Flow(NamedTuple):
    """A gradient by something, and how it moves (None: not), for one chunk."""

    value: Tensor | None
    """None where nobody needs it."""
    tangent: Tensor | None


class Tangents:
    """Both passes.

    Args:
        computation: What the first derivative left: its ``stages`` and ``sums``.
        gradient: By the output.
        tangents: For the gradient by each input; None for zero.
        needs: Which inputs' derivative is wanted.
    """

    def __init__(
        self, computation: Computation, gradient: Tensor, tangents: Sequence[Tensor | None], needs: Sequence[bool]
    ) -> None:
        self._base = computation
        self._base.needs = needs
        self._tangents = tangents
        self._gradient = computation.output_chunks(gradient)
        self._moved: list[list[_Moved]] = [[] for _ in computation.terms]

    def derivatives(self) -> tuple[Tensor | None, list[Tensor | None]]:
        """Return the derivative by the output's gradient, and by each input."""
        base = self._base
        moved = self._forward()
        for source, numbers in base.by_source.items():
            parts = [part for number in numbers if (part := self._by_source_of(number)) is not None]
            base.found[source] = base.gather(parts, wanted=base.needs[source])
        return moved, base.found

    def _at(self, place: int | None) -> Tensor | None:
        return None if place is None else self._tangents[place]

    def _moved_affine(self, term: Term, stage: int) -> Affine:
        """Return how ``Computation.affine`` moves."""
        norm, place = term.norm_before(stage), term.weight_at(stage)
        assert norm is not None  # noqa: S101  # who asks knows
        by = Affine(self._at(norm.scale), self._at(norm.shift))
        if place is None:
            return by
        base, inputs = self._base, self._base.inputs
        channels = norm.module.num_features
        parts: list[Affine] = []
        if (tangent := self._at(place)) is not None:
            own = Affine(*(None if each is None else inputs[each] for each in (norm.scale, norm.shift)))
            parts.append(norms.weighted(tangent.to(base.dtype), own, channels))
        parts.append(Affine(*(None if each is None else inputs[place].to(base.dtype) * each for each in by)))
        return Affine(*(_plus(*each) for each in zip(*parts, strict=True)))

    # Forward.

    def _forward(self) -> Tensor | None:
        base = self._base
        for number, term in enumerate(base.terms):
            tangent = self._tangents[term.source]
            if tangent is not None:
                tangent = tangent.contiguous(memory_format=layout(base.inputs[term.source]))
            self._note(number, None if tangent is None else base.split(tangent))
            for stage in range(len(term.rows)):
                outputs = [self._row(number, stage, c) for c in range(len(self._gradient))]
                moved = [each for each in outputs if each is not None]
                self._note(number, moved or None)
        return self._add()

    def _note(self, number: int, chunks: Sequence[Tensor] | None) -> None:
        taken = self._base.stages[number][len(self._moved[number])]
        drift: Drift | None = None
        if chunks is not None and taken.statistics is not None:
            drift = norms.drift(chunks, taken.chunks, taken.statistics)
        self._moved[number].append(_Moved(chunks, drift))

    def _activation(self, number: int, stage: int, c: int) -> tuple[Tensor, Tensor | None]:
        """Return what the first convolution of a row takes, and how it moves."""
        base, term = self._base, self._base.terms[number]
        taken, moved = base.stages[number][stage], self._moved[number][stage]
        x = base.activation(term, stage, taken, c)
        tangent = None if moved.chunks is None else moved.chunks[c]
        if taken.statistics is not None:
            tangent = self._through(number, stage, c)
        if tangent is not None and term.rows[stage].relu:
            tangent = torch.ops.aten.threshold_backward(tangent, x, 0)
        return x, tangent

    def _through(self, number: int, stage: int, c: int) -> Tensor | None:
        """Return how the output of a BatchNorm moves."""
        base, term = self._base, self._base.terms[number]
        taken, moved = base.stages[number][stage], self._moved[number][stage]
        affine, by = base.affine(term, stage), self._moved_affine(term, stage)
        assert taken.statistics is not None  # noqa: S101  # there is a BatchNorm
        if moved.chunks is None and by.empty:
            return None
        total = norms.moved_line(taken.statistics, affine, moved.drift, by).of(taken.chunks[c])
        if moved.chunks is not None:
            total.addcmul_(moved.chunks[c], wide(norms.line(taken.statistics, affine).factor))
        return total

    def _row(self, number: int, stage: int, c: int) -> Tensor | None:
        """Return how the output of a row moves, for one chunk."""
        row, inputs = self._base.terms[number].rows[stage], self._base.inputs
        x, tangent = self._activation(number, stage, c)
        for last, place, geometry in zip(_lasts(row.weights), row.weights, row.geometries, strict=True):
            tangent = self._convolved(x, tangent, place, geometry)
            if not last:
                x = kernels.forward(x, inputs[place], geometry)
        return tangent

    def _convolved(self, x: Tensor, tangent: Tensor | None, place: int, geometry: Geometry) -> Tensor | None:
        """Return how the convolution of an image moves with the image and with the kernel."""
        moved = self._tangents[place]
        return _plus(
            None if tangent is None else kernels.forward(tangent, self._base.inputs[place], geometry),
            None if moved is None else kernels.forward(x, moved, geometry),
        )

    def _add(self) -> Tensor | None:
        base = self._base
        parts: list[tuple[Sequence[Tensor], Tensor]] = []
        shifts: list[Tensor] = []
        for number, term in enumerate(base.terms):
            stage = len(term.rows)
            (chunks, statistics), moved = base.stages[number][stage], self._moved[number][stage]
            if statistics is not None:
                affine, by = base.affine(term, stage), self._moved_affine(term, stage)
                if moved.chunks is None and by.empty:
                    continue
                line = norms.moved_line(statistics, affine, moved.drift, by)
                parts.append((chunks, wide(line.factor)))
                shifts.append(line.shift)
                factor, tangent = wide(norms.line(statistics, affine).factor), None
            else:
                factor, tangent = base.inputs[term.weight].to(chunks[0].dtype), self._tangents[term.weight]
            if tangent is not None:
                parts.append((chunks, tangent.to(chunks[0].dtype)))
            if moved.chunks is not None:
                parts.append((moved.chunks, factor))
        return base.add_all(parts, shifts) if parts else None

    # Backward.

    def _by_source_of(self, number: int) -> Callable[[int], Tensor | None] | None:
        """Return what gives, chunk by chunk, the derivative by the source of a term."""
        base, term = self._base, self._base.terms[number]
        end, moved = base.stages[number][-1], self._moved[number][-1]
        by_stage: Callable[[int], _Flow]
        if end.statistics is not None:
            by_stage = self._back(number, len(term.rows), self._gradient, None)
        else:
            by_stage = partial(self._scaled, term)
            if base.needs[term.weight] and moved.chunks is not None:
                products = [inner(a, b) for a, b in zip(self._gradient, moved.chunks, strict=True)]
                base.give(term.weight, torch.stack(products).sum())
        needed = base.needed(term)
        for stage in reversed(range(len(term.rows))):
            if not any(needed[: stage + 2]):
                return None
            by_stage = partial(self._back_through_row, number, stage, by_stage)
            if term.rows[stage].norm is not None:
                flows = [by_stage(c) for c in range(len(self._gradient))]
                values = [flow.value for flow in flows if flow.value is not None]
                tangents = [flow.tangent for flow in flows if flow.tangent is not None]
                by_stage = self._back(number, stage, values, tangents or None)
        return (lambda c: by_stage(c).tangent) if any(needed) else None

    def _scaled(self, term: Term, c: int) -> _Flow:
        out, tangent = self._gradient[c], self._tangents[term.weight]
        value = out * self._base.inputs[term.weight].to(out.dtype) if term.rows else None
        return _Flow(value, None if tangent is None else out * tangent.to(out.dtype))

    def _back(
        self, number: int, stage: int, gradients: Sequence[Tensor], tangents: Sequence[Tensor] | None
    ) -> Callable[[int], _Flow]:
        """Go back through the BatchNorm that a row begins with."""
        base, term = self._base, self._base.terms[number]
        (chunks, statistics), moved = base.stages[number][stage], self._moved[number][stage]
        assert statistics is not None  # noqa: S101  # there is a BatchNorm
        affine, by = base.affine(term, stage), self._moved_affine(term, stage)
        sums, n = base.sums[number, stage], norms.count(chunks)
        shared = None if moved.chunks is None else norms.products(gradients, moved.chunks)
        own = None if tangents is None else norms.sums(tangents, chunks, statistics)
        sums_moved = norms.moved_sums(sums, statistics, moved.drift, shared, own)
        self._give_affine(term, stage, sums, sums_moved)
        factor, line = wide(norms.line(statistics, affine).factor), norms.back(statistics, affine, sums, n)
        movement = norms.moved_back(statistics, affine, moved.drift, by, sums, sums_moved, n)

        def through(c: int) -> _Flow:
            x = chunks[c]
            own = None if tangents is None else tangents[c]
            tangent = movement.of(gradients[c], own, x, None if moved.chunks is None else moved.chunks[c])
            # Only the movement of what comes before needs the gradient itself.
            value = line.of(x).addcmul_(gradients[c], factor) if stage else None
            return _Flow(value, tangent)

        return through

    def _give_affine(self, term: Term, stage: int, sums: Sums, moved: Sums) -> None:
        """Add to the derivatives by scale and shift, and by the weight that is folded into them."""
        base = self._base
        norm, place = term.norm_before(stage), term.weight_at(stage)
        assert norm is not None  # noqa: S101  # who asks knows
        tangent = self._at(place)
        for parameter, own, by_movement in zip((norm.scale, norm.shift), sums, moved, strict=True):
            if parameter is not None:
                part = by_movement if place is None else base.inputs[place] * by_movement
                base.give(parameter, part if tangent is None else part + tangent * own)
        if place is not None:
            scale, shift = (None if each is None else base.inputs[each] for each in (norm.scale, norm.shift))
            whole = norms.by_weight(moved, scale, shift)
            for own, by in zip(sums, (self._at(norm.scale), self._at(norm.shift)), strict=True):
                whole = whole if by is None else whole + (own * by).sum()
            base.give(place, whole)

    def _back_through_row(self, number: int, stage: int, by_output: Callable[[int], _Flow], c: int) -> _Flow:
        """Go back through the convolutions and the ReLU of a row, for one chunk."""
        base, term = self._base, self._base.terms[number]
        row, (value, tangent) = term.rows[stage], by_output(c)
        real = any(base.needs[place] for place in row.weights)
        inputs = base.row_inputs(term, stage, base.stages[number][stage], c, real=real)
        movements = self._row_movements(number, stage, c, inputs) if real else [None] * len(inputs)
        whole = list(zip(inputs, movements, row.weights, row.geometries, strict=True))
        for left, (x, moved, place, geometry) in reversed(list(enumerate(whole))):
            weight, by = base.inputs[place], self._tangents[place]
            if base.needs[place]:
                for gradient, given in ((tangent, x), (value, moved)):
                    if gradient is not None and given is not None:
                        base.give(place, weight_gradient(gradient, given, weight, geometry))
            tangent = _plus(
                None if tangent is None else input_gradient(tangent, x, weight, geometry),
                None if by is None or value is None else input_gradient(value, x, by, geometry),
            )
            wanted = left or stage or row.norm is not None  # else nothing that comes before needs it
            value = input_gradient(value, x, weight, geometry) if wanted and value is not None else None
        if row.relu:
            value, tangent = (
                None if each is None else torch.ops.aten.threshold_backward(each, inputs[0], 0)
                for each in (value, tangent)
            )
        return _Flow(value, tangent)

    def _row_movements(self, number: int, stage: int, c: int, inputs: Sequence[Tensor]) -> list[Tensor | None]:
        """Return how what the convolutions of a row take moves."""
        row = self._base.terms[number].rows[stage]
        movements = [self._activation(number, stage, c)[1]]
        for x, place, geometry in zip(inputs, row.weights[:-1], row.geometries, strict=False):
            movements.append(self._convolved(x, movements[-1], place, geometry))
        return movements


def _plus(*parts: Tensor | None) -> Tensor | None:
    """Return the sum of what is there."""
    total: Tensor | None = None
    for part in parts:
        if part is not None:
            total = part if total is None else total.add_(part)
    return total


def _lasts(sequence: Sequence[object]) -> list[bool]:
    """Return for each element whether it is the last."""
    return [number == len(sequence) - 1 for number in range(len(sequence))]
