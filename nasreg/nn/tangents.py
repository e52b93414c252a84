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
from nasreg.nn.norms import Affine, Movement, Sums, wide
from nasreg.nn.passes import Computation, Norm, Term, inner


class _Moved(NamedTuple):
    """How the input of a row, or of the end of a term, moves."""

    chunks: Sequence[Tensor] | None
    """None if it does not."""
    norm: Movement | None
    """Where a BatchNorm comes first."""


class _Flow(NamedTuple):
    """A gradient by something, and how it moves (None: not), for one chunk."""

    value: Tensor | None
    """None where nobody needs it."""
    tangent: Tensor | None


class Tangents:
    """Both passes.

    Args:
        computation: What the first derivative left: its ``stages`` and what it ``passed``.
        gradient: By the output.
        tangents: For the gradient by each input; None for zero.

    Attributes:
        inputs: Of the sum.
        sources: All that the derivatives depend on.
    """

    def __init__(self, computation: Computation, gradient: Tensor, tangents: Sequence[Tensor | None]) -> None:
        self.inputs = computation.inputs
        self.sources = (gradient, *computation.inputs, *tangents)
        self._base = computation
        self._tangents = tangents
        self._gradient = computation.output_chunks(gradient)
        self._moved: list[list[_Moved]] = [[] for _ in computation.terms]

    def _at(self, place: int | None) -> Tensor | None:
        return None if place is None else self._tangents[place]

    def _moved_affine(self, norm: Norm, place: int | None) -> Affine:
        """Return how scale and shift of a BatchNorm move, with the weight in them whose place is given."""
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

    def forward(self) -> Tensor | None:
        """Return the derivative by the output's gradient: how the sum moves."""
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
        term, moved = self._base.terms[number], self._moved[number]
        taken, norm = self._base.stages[number][len(moved)], term.norm_before(len(moved))
        movement: Movement | None = None
        if norm is not None and taken.norm is not None:
            drift = None if chunks is None else taken.norm.drift(chunks, taken.chunks)
            movement = Movement(taken.norm, drift, self._moved_affine(norm, term.weight_at(len(moved))))
        moved.append(_Moved(chunks, movement))

    def _row(self, number: int, stage: int, c: int) -> Tensor | None:
        """Return how the output of a row moves, for one chunk."""
        row, taken = self._base.terms[number].rows[stage], self._base.stages[number][stage]
        inputs = self._base.row_inputs(row, taken, c, real=True)
        moved = self._row_movements(number, stage, c, inputs)
        return self._convolved(inputs[-1], moved[-1], row.weights[-1], row.geometries[-1])

    def _row_movements(self, number: int, stage: int, c: int, inputs: Sequence[Tensor]) -> list[Tensor | None]:
        """Return how what the convolutions of a row take moves."""
        row, moved = self._base.terms[number].rows[stage], self._moved[number][stage]
        tangent = None if moved.chunks is None else moved.chunks[c]
        if moved.norm is not None:
            tangent = moved.norm.of(self._base.stages[number][stage].chunks[c], tangent)
        if tangent is not None and row.relu:
            tangent = torch.ops.aten.threshold_backward(tangent, inputs[0], 0)
        movements = [tangent]
        for x, place, geometry in zip(inputs, row.weights[:-1], row.geometries, strict=False):
            movements.append(self._convolved(x, movements[-1], place, geometry))
        return movements

    def _convolved(self, x: Tensor, tangent: Tensor | None, place: int, geometry: Geometry) -> Tensor | None:
        """Return how the convolution of an image moves with the image and with the kernel."""
        moved, total = self._tangents[place], None
        if tangent is not None:
            total = kernels.forward(tangent, self._base.inputs[place], geometry)
        return total if moved is None else kernels.forward(x, moved, geometry, total)

    def _add(self) -> Tensor | None:
        base = self._base
        parts: list[tuple[Sequence[Tensor], Tensor]] = []
        shifts: list[Tensor] = []
        for number, term in enumerate(base.terms):
            (chunks, norm, _), moved = base.stages[number][-1], self._moved[number][-1]
            tangent: Tensor | None = None
            if norm is not None and moved.norm is not None:
                if moved.norm.still:
                    continue
                parts.append((chunks, wide(moved.norm.line.factor)))
                shifts.append(moved.norm.line.shift)
                factor = wide(norm.line.factor)
            else:
                factor, tangent = base.inputs[term.weight].to(chunks[0].dtype), self._tangents[term.weight]
            if tangent is not None:
                parts.append((chunks, tangent.to(chunks[0].dtype)))
            if moved.chunks is not None:
                parts.append((moved.chunks, factor))
        return base.add_all(parts, shifts) if parts else None

    # Backward.

    def backward(self, tangent: Tensor | None, needs: Sequence[bool]) -> list[Tensor | None]:
        """Return the derivative by each input, after ``forward``.

        Args:
            tangent: How the output's gradient moves; None if it does not.
            needs: Which inputs' derivative is wanted.
        """
        base = self._base
        base.want(needs)
        moved = None if tangent is None else base.output_chunks(tangent)
        for source, numbers in base.by_source.items():
            parts = [part for number in numbers if (part := self._by_source_of(number, moved)) is not None]
            base.found[source] = base.gather(parts, wanted=needs[source])
        return base.found

    def _by_source_of(self, number: int, out: Sequence[Tensor] | None) -> Callable[[int], Tensor | None] | None:
        """Return what gives, chunk by chunk, the derivative by the source of a term."""
        base, term = self._base, self._base.terms[number]
        end, moved = base.stages[number][-1], self._moved[number][-1]
        by_stage: Callable[[int], _Flow]
        if end.norm is not None:
            by_stage = self._back(number, len(term.rows), self._gradient, out)
        else:
            by_stage = partial(self._scaled, term, out)
            if base.needs[term.weight]:
                for gradient, given in ((self._gradient, moved.chunks), (out, end.chunks)):
                    if gradient is not None and given is not None:
                        products = [inner(a, b) for a, b in zip(gradient, given, strict=True)]
                        base.give(term.weight, torch.stack(products).sum())
        needed = base.needed(term)
        for stage in reversed(range(len(term.rows))):
            if not any(needed[: stage + 2]):
                return None
            by_stage = partial(self._back_through_row, number, stage, by_stage)
            if term.rows[stage].norm is not None:
                flows = [by_stage(c) for c in range(len(self._gradient))]
                values = base.passed[number, stage].by_output
                values = values or [flow.value for flow in flows if flow.value is not None]
                tangents = [flow.tangent for flow in flows if flow.tangent is not None]
                by_stage = self._back(number, stage, values, tangents or None)
        return (lambda c: by_stage(c).tangent) if any(needed) else None

    def _scaled(self, term: Term, moved: Sequence[Tensor] | None, c: int) -> _Flow:
        out, by = self._gradient[c], self._tangents[term.weight]
        weight = self._base.inputs[term.weight].to(out.dtype)
        tangent = None if moved is None else moved[c] * weight
        if by is not None:
            tangent = out * by.to(out.dtype) if tangent is None else tangent.addcmul_(out, by.to(out.dtype))
        return _Flow(out * weight if term.rows else None, tangent)

    def _back(
        self, number: int, stage: int, gradients: Sequence[Tensor], tangents: Sequence[Tensor] | None
    ) -> Callable[[int], _Flow]:
        """Go back through the BatchNorm that a row begins with."""
        chunks, norm, _ = self._base.stages[number][stage]
        moved, passed = self._moved[number][stage], self._base.passed[number, stage]
        assert norm is not None and moved.norm is not None  # noqa: S101, PT018  # who asks knows
        sums = passed.sums
        shared = None if moved.chunks is None else norms.products(gradients, moved.chunks)
        own = None if tangents is None else norms.sums(tangents, chunks, norm.statistics)
        sums_moved = moved.norm.sums(sums, shared, own)
        self._give_affine(self._base.terms[number], stage, sums, sums_moved)
        back = norm.back(sums)
        movement = moved.norm.back(sums, sums_moved)

        def through(c: int) -> _Flow:
            x = chunks[c]
            own = None if tangents is None else tangents[c]
            tangent = movement.of(gradients[c], own, x, None if moved.chunks is None else moved.chunks[c])
            if stage == 0:  # nothing comes before whose movement would need the gradient itself
                return _Flow(None, tangent)
            kept = passed.by_input
            return _Flow(kept[c] if kept else back.of(gradients[c], x), tangent)

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
        row, taken, (value, tangent) = term.rows[stage], base.stages[number][stage], by_output(c)
        real = any(base.needs[place] for place in row.weights)
        inputs = base.row_inputs(row, taken, c, real=real)
        movements = self._row_movements(number, stage, c, inputs) if real else [None] * len(inputs)
        whole = list(zip(inputs, movements, row.weights, row.geometries, strict=True))
        # The gradient by what the row takes is needed where something comes before, if it is not kept.
        wanted = row.norm is not None and not base.passed[number, stage].by_output
        for left, (x, moved, place, geometry) in reversed(list(enumerate(whole))):
            weight, by = base.inputs[place], self._tangents[place]
            if base.needs[place]:
                for gradient, given in ((tangent, x), (value, moved)):
                    if gradient is not None and given is not None:
                        base.give(place, weight_gradient(gradient, given, weight, geometry))
            tangent = None if tangent is None else input_gradient(tangent, x, weight, geometry)
            if by is not None and value is not None:
                tangent = input_gradient(value, x, by, geometry, tangent)
            value = input_gradient(value, x, weight, geometry) if (left or wanted) and value is not None else None
        if row.relu:
            value, tangent = (
                None if each is None else torch.ops.aten.threshold_backward(each, inputs[0], 0)
                for each in (value, tangent)
            )
        return _Flow(value, tangent)


def _plus(*parts: Tensor | None) -> Tensor | None:
    """Return the sum of what is there."""
    total: Tensor | None = None
    for part in parts:
        if part is not None:
            total = part if total is None else total.add_(part)
    return total
