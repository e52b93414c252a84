"""The double backward pass through a fused sum, chunk by chunk; see ``nasreg.nn.fast.fused``.

The gradients of the sum are a function of the output gradient and of the inputs. Its vector-Jacobian product, with a
tangent for each gradient, is the derivative of ``<output gradient, tangent of the output>``, where the tangent of the
output is the Jacobian-vector product of the sum. With respect to the output gradient that is the tangent of the output
itself; with respect to the inputs it is the tangent of their gradients (forward over reverse; Pearlmutter, "Fast exact
multiplication by the Hessian", Neural Computation 6, 1994). So there is a forward and a backward pass, each with the
tangents of what the first-order pass computes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor

from nasreg.nn.fast import batch_norm, convolution
from nasreg.nn.fast.batch_norm import Affine, AffineGrad, BatchNorm
from nasreg.nn.fast.blocks import BatchNormSlots, Candidate
from nasreg.nn.fast.convolution import Geometry, input_gradient, layout, weight_gradient
from nasreg.nn.fast.passes import Computation, inner_product, relu_gradient
from nasreg.nn.fast.second_order.batch_norm import BatchNormJVP, inner_products, stats_tangent


class _InputTangent(NamedTuple):
    """The tangent of the input of a block, or of a candidate's end."""

    chunks: Sequence[Tensor] | None
    """None for zero."""
    norm: BatchNormJVP | None
    """For a block that starts with a BatchNorm."""


class _GradAndTangent(NamedTuple):
    """A gradient and its tangent, for one chunk."""

    grad: Tensor | None
    """None where it is not needed."""
    tangent: Tensor | None
    """None for zero."""


class DoubleBackwardPass:
    """The double backward pass.

    Args:
        computation: The first-order passes: ``block_inputs`` and ``cache`` are used.
        grad: Gradient of the output.
        tangents: Tangent of the gradient of each input; None for zero.

    Attributes:
        inputs: Inputs of the sum.
        sources: All tensors that the second derivatives depend on.
    """

    def __init__(self, computation: Computation, grad: Tensor, tangents: Sequence[Tensor | None]) -> None:
        self.inputs = computation.inputs
        self.sources = (grad, *computation.inputs, *tangents)
        self._first = computation
        self._tangents = tangents
        self._grad = computation.output_chunks(grad)
        self._input_tangents: list[list[_InputTangent]] = [[] for _ in computation.candidates]

    def _tangent(self, slot: int | None) -> Tensor | None:
        return None if slot is None else self._tangents[slot]

    def _affine_tangent(self, norm: BatchNormSlots, folded: int | None) -> Affine:
        """Return the tangents of weight and bias of a BatchNorm, in which the candidate's weight may be folded."""
        affine = Affine(self._tangent(norm.weight), self._tangent(norm.bias))
        if folded is None:
            return affine
        first, channels = self._first, norm.module.num_features
        parts: list[Affine] = []
        if (tangent := self._tangent(folded)) is not None:
            parts.append(batch_norm.scaled_affine(tangent.to(first.dtype), first.affine(norm), channels))
        factor = first.inputs[folded].to(first.dtype)
        parts.append(Affine(*(None if each is None else factor * each for each in affine)))
        return Affine(*(_sum_in_place(*each) for each in zip(*parts, strict=True)))

    # Forward.

    def forward(self) -> Tensor | None:
        """Return the tangent of the output: the derivative with respect to the output gradient."""
        first = self._first
        for number, candidate in enumerate(first.candidates):
            tangent = self._tangents[candidate.source]
            if tangent is not None:
                tangent = tangent.contiguous(memory_format=layout(first.inputs[candidate.source]))
            self._append(number, None if tangent is None else first.split(tangent))
            for block in range(len(candidate.blocks)):
                outputs = [self._block(number, block, c) for c in range(len(self._grad))]
                self._append(number, [each for each in outputs if each is not None] or None)
        return self._sum()

    def _append(self, number: int, chunks: Sequence[Tensor] | None) -> None:
        """Set the tangent of the next block's input."""
        candidate, tangents = self._first.candidates[number], self._input_tangents[number]
        block = len(tangents)
        block_input, norm = self._first.block_inputs[number][block], candidate.norm_before(block)
        jvp: BatchNormJVP | None = None
        if norm is not None and block_input.norm is not None:
            stats = None if chunks is None else stats_tangent(block_input.norm, chunks, block_input.chunks)
            affine = self._affine_tangent(norm, candidate.weight_folded_into(block))
            jvp = BatchNormJVP(block_input.norm, stats, affine)
        tangents.append(_InputTangent(chunks, jvp))

    def _block(self, number: int, block: int, c: int) -> Tensor | None:
        """Return the tangent of a block's output, for one chunk."""
        conv_block = self._first.candidates[number].blocks[block]
        inputs = self._first.conv_inputs(conv_block, self._first.block_inputs[number][block], c, values=True)
        tangents = self._conv_input_tangents(number, block, c, inputs)
        return self._convolution(inputs[-1], tangents[-1], conv_block.weights[-1], conv_block.geometries[-1])

    def _conv_input_tangents(self, number: int, block: int, c: int, inputs: Sequence[Tensor]) -> list[Tensor | None]:
        """Return the tangents of the inputs of a block's convolutions."""
        conv_block, input_tangent = self._first.candidates[number].blocks[block], self._input_tangents[number][block]
        tangent = None if input_tangent.chunks is None else input_tangent.chunks[c]
        if input_tangent.norm is not None:
            tangent = input_tangent.norm.apply(self._first.block_inputs[number][block].chunks[c], tangent)
        if tangent is not None and conv_block.relu:
            tangent = relu_gradient(tangent, inputs[0])
        tangents = [tangent]
        for x, slot, geometry in zip(inputs, conv_block.weights[:-1], conv_block.geometries, strict=False):
            tangents.append(self._convolution(x, tangents[-1], slot, geometry))
        return tangents

    def _convolution(self, x: Tensor, tangent: Tensor | None, slot: int, geometry: Geometry) -> Tensor | None:
        """Return the tangent of a convolution's output, given that of its input; the kernel may have one, too."""
        kernel_tangent, total = self._tangents[slot], None
        if tangent is not None:
            total = convolution.forward(tangent, self._first.inputs[slot], geometry)
        return total if kernel_tangent is None else convolution.forward(x, kernel_tangent, geometry, total)

    def _sum(self) -> Tensor | None:
        first = self._first
        parts: list[tuple[Sequence[Tensor], Tensor]] = []
        shifts: list[Tensor] = []
        for number, candidate in enumerate(first.candidates):
            (chunks, norm, _), input_tangent = first.block_inputs[number][-1], self._input_tangents[number][-1]
            weight_tangent: Tensor | None = None
            if norm is not None and input_tangent.norm is not None:
                if input_tangent.norm.is_zero:
                    continue
                parts.append((chunks, input_tangent.norm.output.scale))
                shifts.append(input_tangent.norm.output.shift)
                factor = norm.output.scale
            else:
                factor = first.inputs[candidate.weight].to(chunks[0].dtype)
                weight_tangent = self._tangents[candidate.weight]
            if weight_tangent is not None:
                parts.append((chunks, weight_tangent.to(chunks[0].dtype)))
            if input_tangent.chunks is not None:
                parts.append((input_tangent.chunks, factor))
        return first.linear_combination(parts, shifts) if parts else None

    # Backward.

    def backward(self, grad_tangent: Tensor | None, needs_grad: Sequence[bool]) -> list[Tensor | None]:
        """Return the second derivative with respect to each input, after ``forward``.

        Args:
            grad_tangent: Tangent of the output gradient; None for zero.
            needs_grad: Which inputs' derivatives are needed.
        """
        first = self._first
        first.start_backward(needs_grad)
        tangent = None if grad_tangent is None else first.output_chunks(grad_tangent)
        for source, numbers in first.candidates_of.items():
            parts = [part for number in numbers if (part := self._source_tangent(number, tangent)) is not None]
            first.grads[source] = first.sum_over_candidates(parts, needed=needs_grad[source])
        return first.grads

    def _source_tangent(
        self, number: int, output_tangent: Sequence[Tensor] | None
    ) -> Callable[[int], Tensor | None] | None:
        """Return the function that computes a candidate's part of the derivative for its source, for a chunk."""
        first, candidate = self._first, self._first.candidates[number]
        end, input_tangent = first.block_inputs[number][-1], self._input_tangents[number][-1]
        block_grad: Callable[[int], _GradAndTangent]
        if end.norm is not None:
            block_grad = self._backward_norm(number, len(candidate.blocks), self._grad, output_tangent)
        else:
            block_grad = partial(self._scaled, candidate, output_tangent)
            if first.needs_grad[candidate.weight]:
                for grad, x in ((self._grad, input_tangent.chunks), (output_tangent, end.chunks)):
                    if grad is not None and x is not None:
                        products = [inner_product(a, b) for a, b in zip(grad, x, strict=True)]
                        first.accumulate_grad(candidate.weight, torch.stack(products).sum())
        needed = first.grads_needed(candidate)
        for block in reversed(range(len(candidate.blocks))):
            if not any(needed[: block + 2]):
                return None
            block_grad = partial(self._backward_block, number, block, block_grad)
            if candidate.blocks[block].norm is not None:
                both = [block_grad(c) for c in range(len(self._grad))]
                grads = first.cache[number, block].output_grad
                grads = grads or [each.grad for each in both if each.grad is not None]
                tangents = [each.tangent for each in both if each.tangent is not None]
                block_grad = self._backward_norm(number, block, grads, tangents or None)
        return (lambda c: block_grad(c).tangent) if any(needed) else None

    def _scaled(self, candidate: Candidate, output_tangent: Sequence[Tensor] | None, c: int) -> _GradAndTangent:
        """Go back through the multiplication with the candidate's weight, for one chunk."""
        grad, weight_tangent = self._grad[c], self._tangents[candidate.weight]
        weight = self._first.inputs[candidate.weight].to(grad.dtype)
        tangent = None if output_tangent is None else output_tangent[c] * weight
        if weight_tangent is not None:
            weight_tangent = weight_tangent.to(grad.dtype)
            tangent = grad * weight_tangent if tangent is None else tangent.addcmul_(grad, weight_tangent)
        return _GradAndTangent(grad * weight if candidate.blocks else None, tangent)

    def _backward_norm(
        self, number: int, block: int, grads: Sequence[Tensor], tangents: Sequence[Tensor] | None
    ) -> Callable[[int], _GradAndTangent]:
        """Go back through the BatchNorm that a block starts with, given the output's gradient and its tangent."""
        block_input, input_tangent = self._first.block_inputs[number][block], self._input_tangents[number][block]
        chunks, norm, jvp = block_input.chunks, cast("BatchNorm", block_input.norm), input_tangent.norm
        jvp = cast("BatchNormJVP", jvp)
        cache = self._first.cache[number, block]
        sums = cache.affine_grad
        products = None if input_tangent.chunks is None else inner_products(grads, input_tangent.chunks)
        own = None if tangents is None else batch_norm.affine_grad(tangents, chunks, norm.statistics)
        sums_tangent = jvp.affine_grad(sums, products, own)
        self._accumulate_affine(self._first.candidates[number], block, sums, sums_tangent)
        input_grad = norm.input_grad(sums)
        input_grad_tangent = jvp.input_grad(sums, sums_tangent)

        def backward(c: int) -> _GradAndTangent:
            x, own = chunks[c], None if tangents is None else tangents[c]
            x_tangent = None if input_tangent.chunks is None else input_tangent.chunks[c]
            tangent = input_grad_tangent.apply(grads[c], own, x, x_tangent)
            if block == 0:  # no parameter comes before, whose derivative would need the gradient itself
                return _GradAndTangent(None, tangent)
            kept = cache.input_grad
            return _GradAndTangent(kept[c] if kept else input_grad.apply(grads[c], x), tangent)

        return backward

    def _accumulate_affine(self, candidate: Candidate, block: int, sums: AffineGrad, tangents: AffineGrad) -> None:
        """Add to the derivatives for weight and bias, and for the candidate's weight if it is folded into them."""
        first, norm = self._first, cast("BatchNormSlots", candidate.norm_before(block))
        folded = candidate.weight_folded_into(block)
        factor_tangent = self._tangent(folded)
        for slot, grad, tangent in zip((norm.weight, norm.bias), sums, tangents, strict=True):
            if slot is not None:
                part = tangent if folded is None else first.inputs[folded] * tangent
                first.accumulate_grad(slot, part if factor_tangent is None else part + factor_tangent * grad)
        if folded is not None:
            total = batch_norm.factor_grad(tangents, first.affine(norm))
            for grad, affine_tangent in zip(sums, (self._tangent(norm.weight), self._tangent(norm.bias)), strict=True):
                total = total if affine_tangent is None else total + (grad * affine_tangent).sum()
            first.accumulate_grad(folded, total)

    def _backward_block(
        self, number: int, block: int, output_grad: Callable[[int], _GradAndTangent], c: int
    ) -> _GradAndTangent:
        """Go back through the convolutions and the ReLU of a block, for one chunk."""
        first, conv_block = self._first, self._first.candidates[number].blocks[block]
        grad, tangent = output_grad(c)
        values = any(first.needs_grad[slot] for slot in conv_block.weights)
        inputs = first.conv_inputs(conv_block, first.block_inputs[number][block], c, values=values)
        tangents = self._conv_input_tangents(number, block, c, inputs) if values else [None] * len(inputs)
        convolutions = list(zip(inputs, tangents, conv_block.weights, conv_block.geometries, strict=True))
        # The gradient of the block's input is needed by the BatchNorm before, unless it is kept.
        input_needed = conv_block.norm is not None and not first.cache[number, block].output_grad
        for position, (x, x_tangent, slot, geometry) in reversed(list(enumerate(convolutions))):
            kernel, kernel_tangent = first.inputs[slot], self._tangents[slot]
            if first.needs_grad[slot]:
                for own, given in ((tangent, x), (grad, x_tangent)):
                    if own is not None and given is not None:
                        first.accumulate_grad(slot, weight_gradient(own, given, kernel, geometry))
            tangent = None if tangent is None else input_gradient(tangent, x, kernel, geometry)
            if kernel_tangent is not None and grad is not None:
                tangent = input_gradient(grad, x, kernel_tangent, geometry, tangent)
            needed = position > 0 or input_needed
            grad = input_gradient(grad, x, kernel, geometry) if needed and grad is not None else None
        if conv_block.relu:
            grad, tangent = (None if each is None else relu_gradient(each, inputs[0]) for each in (grad, tangent))
        return _GradAndTangent(grad, tangent)


def _sum_in_place(*parts: Tensor | None) -> Tensor | None:
    """Return the sum of the parts that are not None, in the memory of the first."""
    total: Tensor | None = None
    for part in parts:
        if part is not None:
            total = part if total is None else total.add_(part)
    return total
