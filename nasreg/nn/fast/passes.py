"""The forward and the backward pass of a fused sum of candidates, chunk by chunk; see ``nasreg.nn.fast.fused``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from nasreg.nn.fast import batch_norm, convolution
from nasreg.nn.fast.batch_norm import Affine, AffineGrad, BatchNorm, Statistics
from nasreg.nn.fast.blocks import BackwardCache, BatchNormSlots, BlockInput, Candidate, ConvBlock
from nasreg.nn.fast.convolution import input_gradient, layout, weight_gradient

CHUNK_BYTES = 2**22
"""Approximate size of a chunk of an image tensor on a CPU; on other devices the batch is one chunk."""


class Computation:
    """The passes through a fused sum.

    Args:
        candidates: The candidates, which refer to their tensors by slot.
        inputs: The tensors in the slots.
        keep_activations: Keep what a second derivative would compute again.

    Attributes:
        block_inputs: For each candidate the inputs of its blocks, and of its end.
        cache: Results of the backward pass, by number of candidate and block.
        needs_grad: Which inputs need a gradient.
        grads: The gradients of the inputs so far.
        candidates_of: Numbers of the candidates that read a source, by its slot.
    """

    def __init__(self, candidates: Sequence[Candidate], inputs: Sequence[Tensor], *, keep_activations: bool) -> None:
        self.candidates, self.inputs, self.keep_activations = candidates, inputs, keep_activations
        sources = [inputs[slot] for slot in dict.fromkeys(candidate.source for candidate in candidates)]
        self.dtype = sources[0].dtype
        self.chunk_images = max(len(sources[0]), 1)
        if sources[0].device.type == "cpu" and len(sources[0]) > 0:
            largest = max(x.element_size() * x[0].numel() for x in sources)
            self.chunk_images = max(1, round(CHUNK_BYTES / largest))
        self.candidates_of: dict[int, list[int]] = {}
        for number, candidate in enumerate(candidates):
            self.candidates_of.setdefault(candidate.source, []).append(number)
        self.block_inputs: list[list[BlockInput]] = [[] for _ in candidates]
        self.cache: dict[tuple[int, int], BackwardCache] = {}
        self.start_backward([False] * len(inputs))

    def start_backward(self, needs_grad: Sequence[bool]) -> None:
        """Prepare for a backward pass."""
        self.needs_grad = needs_grad
        self.grads: list[Tensor | None] = [None] * len(self.inputs)

    def split(self, x: Tensor) -> Sequence[Tensor]:
        """Split a batch into chunks."""
        return torch.split(x, self.chunk_images)

    # Saving for the backward pass.

    def tensors_to_save(self) -> list[Tensor]:
        """Return the results of the forward pass that the backward pass needs, beside the inputs."""
        tensors: list[Tensor] = []
        for candidate, block_inputs in zip(self.candidates, self.block_inputs, strict=True):
            for number, block_input in enumerate(block_inputs):
                tensors += block_input.chunks if number else []  # the first block's are the source
                tensors += block_input.norm.statistics if block_input.norm else []
                for inputs in block_input.conv_inputs:
                    tensors += inputs[candidate.blocks[number].first_new_input :]
        return tensors

    def restore(self, tensors: Sequence[Tensor]) -> None:
        """Set the results of the forward pass from ``tensors_to_save``."""
        left = iter(tensors)
        for number, candidate in enumerate(self.candidates):
            chunks = self.split(self.inputs[candidate.source])
            for block in range(len(candidate.blocks) + 1):
                chunks = [next(left) for _ in chunks] if block else chunks
                statistics = Statistics(next(left), next(left)) if candidate.norm_before(block) else None
                block_input = self._block_input(candidate, block, chunks, statistics)
                if self.keep_activations and block < len(candidate.blocks):
                    weights, first = candidate.blocks[block].weights, candidate.blocks[block].first_new_input
                    for chunk in chunks:
                        block_input.conv_inputs.append([*[chunk][:first], *(next(left) for _ in weights[first:])])
                self.block_inputs[number].append(block_input)

    def _block_input(
        self, candidate: Candidate, block: int, chunks: Sequence[Tensor], statistics: Statistics | None
    ) -> BlockInput:
        norm = candidate.norm_before(block)
        if norm is None or statistics is None:
            return BlockInput(chunks, None, [])
        affine = self.affine(norm)
        if (weight := candidate.weight_folded_into(block)) is not None:
            factor = self.inputs[weight].to(self.dtype)
            affine = batch_norm.scaled_affine(factor, affine, norm.module.num_features)
        return BlockInput(chunks, BatchNorm(statistics, affine, batch_norm.count(chunks)), [])

    def affine(self, norm: BatchNormSlots) -> Affine:
        """Return weight and bias of a BatchNorm, without the candidate's weight."""
        return Affine(*(None if slot is None else self.inputs[slot] for slot in (norm.weight, norm.bias)))

    # Forward.

    def forward(self) -> Tensor:
        """Compute the sum, and set ``block_inputs``."""
        for source, numbers in self.candidates_of.items():
            self._first_blocks(self.split(self.inputs[source]), numbers)
        for number, candidate in enumerate(self.candidates):
            for block in range(1, len(candidate.blocks)):
                block_input = self.block_inputs[number][block]
                self._append(number, [self._block(candidate, block, block_input, c) for c in self.chunks()])
        return self._sum()

    def chunks(self) -> range:
        """Return the numbers of the chunks."""
        return range(len(self.block_inputs[0][0].chunks))

    def _first_blocks(self, chunks: Sequence[Tensor], numbers: Sequence[int]) -> None:
        """Compute the first blocks of all candidates of one source, so that each chunk of it is read once."""
        outputs: dict[int, list[Tensor]] = {number: [] for number in numbers if self.candidates[number].blocks}
        for number in numbers:
            self._append(number, chunks)
        for c in range(len(chunks)):
            for number, computed in outputs.items():
                computed.append(self._block(self.candidates[number], 0, self.block_inputs[number][0], c))
        for number, computed in outputs.items():
            self._append(number, computed)

    def _append(self, number: int, chunks: Sequence[Tensor]) -> None:
        """Set the next block's input."""
        candidate, block_inputs = self.candidates[number], self.block_inputs[number]
        norm = candidate.norm_before(len(block_inputs))
        statistics = batch_norm.batch_statistics(chunks, norm.module) if norm else None
        block_inputs.append(self._block_input(candidate, len(block_inputs), chunks, statistics))

    def _block(self, candidate: Candidate, number: int, block_input: BlockInput, c: int) -> Tensor:
        """Compute a block for one chunk."""
        block = candidate.blocks[number]
        inputs = self.conv_inputs(block, block_input, c, values=True)
        if self.keep_activations:
            block_input.conv_inputs.append(inputs)
        return convolution.forward(inputs[-1], self.inputs[block.weights[-1]], block.geometries[-1])

    def conv_inputs(self, block: ConvBlock, block_input: BlockInput, c: int, *, values: bool) -> list[Tensor]:
        """Return the inputs of a block's convolutions, for one chunk.

        Args:
            block: The block.
            block_input: Its input.
            c: Number of the chunk.
            values: Whether the values are needed. Otherwise only the sign of the first input is valid, and only the
                shapes of the others.
        """
        if c < len(block_input.conv_inputs):
            return block_input.conv_inputs[c]
        x = block_input.chunks[c]
        if values or block.norm is not None:
            x = _activation(block, block_input, x)
        inputs = [x]
        compute = convolution.forward if values else convolution.empty_output
        for slot, geometry in zip(block.weights[:-1], block.geometries, strict=False):
            inputs.append(compute(inputs[-1], self.inputs[slot], geometry))
        return inputs

    def _sum(self) -> Tensor:
        parts: list[tuple[Sequence[Tensor], Tensor]] = []
        shifts: list[Tensor] = []
        for candidate, block_inputs in zip(self.candidates, self.block_inputs, strict=True):
            chunks, norm, _ = block_inputs[-1]
            if norm is not None:
                parts.append((chunks, norm.output.scale))
                shifts.append(norm.output.shift)
            else:
                parts.append((chunks, self.inputs[candidate.weight].to(chunks[0].dtype)))
        return self.linear_combination(parts, shifts)

    def linear_combination(self, parts: Sequence[tuple[Sequence[Tensor], Tensor]], shifts: Sequence[Tensor]) -> Tensor:
        """Return the sum of images in chunks, each times a factor (or one per channel), and of shifts per channel."""
        first = parts[0][0]
        size = (sum(map(len, first)), *first[0].shape[1:])
        total = torch.empty(size, dtype=first[0].dtype, device=first[0].device, memory_format=layout(first[0]))
        shift = torch.stack(list(shifts)).sum(0) if shifts else total.new_zeros(())
        for c, out in enumerate(self.split(total)):
            batch_norm.scale_shift(first[c], parts[0][1], shift, out)
            for chunks, factor in parts[1:]:
                batch_norm.add_scaled(out, chunks[c], factor)
        return total

    # Backward.

    def backward(self, grad: Tensor, needs_grad: Sequence[bool]) -> list[Tensor | None]:
        """Compute the gradient of each input that needs one."""
        self.start_backward(needs_grad)
        output_grad = self.output_chunks(grad)
        for source, numbers in self.candidates_of.items():
            parts = [part for number in numbers if (part := self._source_grad(number, output_grad)) is not None]
            self.grads[source] = self.sum_over_candidates(parts, needed=needs_grad[source])
        return self.grads

    def output_chunks(self, x: Tensor) -> Sequence[Tensor]:
        """Split a tensor of the output's shape into chunks, in the memory layout of the candidates."""
        return self.split(x.contiguous(memory_format=layout(self.block_inputs[0][-1].chunks[0])))

    def sum_over_candidates(self, parts: Sequence[Callable[[int], Tensor | None]], *, needed: bool) -> Tensor | None:
        """Return the gradient of a source: the sum over the candidates that read it.

        Args:
            parts: For each candidate, the function that computes its part for a chunk. All are called even if the sum
                is not needed, since they compute the gradients of parameters on the way.
            needed: Whether the source needs a gradient.
        """
        sums: list[Tensor | None] = []
        for c in self.chunks() if parts else ():
            total: Tensor | None = None
            for part in parts:
                grad = part(c)
                if grad is not None:
                    total = grad if total is None else total.add_(grad)
            sums.append(total if needed else None)
        chunks = [chunk for chunk in sums if chunk is not None]
        if len(chunks) < 2:
            return chunks[0] if chunks else None
        return torch.cat(chunks)

    def grads_needed(self, candidate: Candidate) -> list[bool]:
        """Return whether a candidate's source needs a gradient, and the parameters of each of its blocks."""
        needed = [self.needs_grad[candidate.source]]
        for block in candidate.blocks:
            affine = (block.norm.weight, block.norm.bias) if block.norm else ()
            needed.append(any(self.needs_grad[slot] for slot in (*block.weights, *affine) if slot is not None))
        return needed

    def accumulate_grad(self, slot: int, grad: Tensor) -> None:
        """Add to the gradient of an input, if it needs one."""
        if not self.needs_grad[slot]:
            return
        before = self.grads[slot]
        grad = grad.to(self.inputs[slot].dtype)
        self.grads[slot] = grad if before is None else before + grad

    def _source_grad(self, number: int, output_grad: Sequence[Tensor]) -> Callable[[int], Tensor | None] | None:
        """Return the function that computes a candidate's part of its source's gradient for a chunk.

        The gradients of the candidate's parameters are accumulated on the way; None if there is nothing to compute.
        """
        candidate, block_inputs = self.candidates[number], self.block_inputs[number]
        weight = self.inputs[candidate.weight].to(output_grad[0].dtype)
        end = block_inputs[-1]

        def scaled(c: int) -> Tensor:
            return output_grad[c] * weight

        block_grad: Callable[[int], Tensor | None] = scaled
        if end.norm is not None:
            block_grad = self._backward_norm(number, len(candidate.blocks), output_grad)
        elif self.needs_grad[candidate.weight]:
            products = [inner_product(a, b) for a, b in zip(output_grad, end.chunks, strict=True)]
            self.accumulate_grad(candidate.weight, torch.stack(products).sum())
        needed = self.grads_needed(candidate)
        for number_of_block in reversed(range(len(candidate.blocks))):
            block, block_input = candidate.blocks[number_of_block], block_inputs[number_of_block]
            if not any(needed[: number_of_block + 2]):
                return None
            block_grad = partial(self._backward_block, block, block_input, block_grad)
            if block.norm is not None:  # its gradient needs sums over the whole batch
                grads = [cast("Tensor", block_grad(c)) for c in self.chunks()]
                block_grad = self._backward_norm(number, number_of_block, grads)
        return block_grad if any(needed) else None

    def _backward_norm(self, number: int, block: int, grads: Sequence[Tensor]) -> Callable[[int], Tensor]:
        """Go back through the BatchNorm before a block, and the candidate's weight if it is folded in."""
        candidate, block_input = self.candidates[number], self.block_inputs[number][block]
        norm = cast("BatchNorm", block_input.norm)
        sums = batch_norm.affine_grad(grads, block_input.chunks, norm.statistics)
        cache = BackwardCache(sums, list(grads) if self.keep_activations and block < len(candidate.blocks) else [], [])
        self.cache[number, block] = cache
        self._accumulate_affine_grad(candidate, block, sums)
        input_grad = norm.input_grad(sums)

        def backward(c: int) -> Tensor:
            grad = input_grad.apply(grads[c], block_input.chunks[c])
            if self.keep_activations and block:
                cache.input_grad.append(grad)
            return grad

        return backward

    def _accumulate_affine_grad(self, candidate: Candidate, block: int, sums: AffineGrad) -> None:
        """Add to the gradients of weight and bias of a BatchNorm, and of the candidate's weight if it is folded in."""
        norm, folded = cast("BatchNormSlots", candidate.norm_before(block)), candidate.weight_folded_into(block)
        factor = None if folded is None else self.inputs[folded].to(sums.weight.dtype)
        for slot, grad in ((norm.weight, sums.weight), (norm.bias, sums.bias)):
            if slot is not None:
                self.accumulate_grad(slot, grad if factor is None else factor * grad)
        if folded is not None:
            self.accumulate_grad(folded, batch_norm.factor_grad(sums, self.affine(norm)))

    def _backward_block(
        self, block: ConvBlock, block_input: BlockInput, output_grad: Callable[[int], Tensor | None], c: int
    ) -> Tensor | None:
        """Go back through the convolutions and the ReLU of a block, for one chunk."""
        grad = cast("Tensor", output_grad(c))
        values = any(self.needs_grad[slot] for slot in block.weights)
        inputs = self.conv_inputs(block, block_input, c, values=values)
        for x, slot, geometry in reversed(list(zip(inputs, block.weights, block.geometries, strict=True))):
            if self.needs_grad[slot]:
                self.accumulate_grad(slot, weight_gradient(grad, x, self.inputs[slot], geometry))
            grad = input_gradient(grad, x, self.inputs[slot], geometry)
        return relu_gradient(grad, inputs[0]) if block.relu else grad


def _activation(block: ConvBlock, block_input: BlockInput, x: Tensor) -> Tensor:
    """Return the input of a block's first convolution for one chunk x."""
    if block_input.norm is None:
        return torch.relu(x) if block.relu else x
    x = block_input.norm.output.apply(x)
    return x.relu_() if block.relu else x


def relu_gradient(grad: Tensor, output: Tensor) -> Tensor:
    """Return the gradient with respect to the input of a ReLU, given that of its output and the output."""
    computed: Any = torch.ops.aten.threshold_backward(grad, output, 0)  # the kernel of torch.relu; not public
    return cast("Tensor", computed)


def inner_product(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of two tensors of one shape."""
    if a.dim() == 4 and layout(a) == layout(b) == torch.channels_last:
        a, b = a.permute(0, 2, 3, 1), b.permute(0, 2, 3, 1)  # so that flattening them copies nothing
    return torch.dot(a.reshape(-1), b.reshape(-1))
