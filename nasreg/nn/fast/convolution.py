"""Convolutions by the algorithm that is fastest for their size, forward and backward.

All algorithms compute the same sums. On a CPU in channels-last memory, torch's depthwise convolutions are fast in the
forward pass, and some are slow in the backward pass (measured by ``benchmarks/search_step.py``):

- A small 1x1 convolution is a matrix product, and so are its gradients: a call costs less.
- The input gradient of a convolution of stride 1 is a convolution with the flipped kernel.
- The gradients of a convolution of stride 2 are computed as those of one of stride 1.
- The kernel gradient with dilation 2 is the one without dilation, on the four images of every second row and column.
- The gradient of a kernel of width 5 is assembled from those of two kernels of width 3 on shifted images.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasreg.nn.fast.autograd import needs_grad
from nasreg.nn.fast.double_backward import differentiable_grads, second_order

MIN_CHANNELS = 8
"""With fewer channels, torch's own gradient of a dilated kernel is the fastest."""

MAX_PRODUCT = 2**20
"""Multiplications up to which a 1x1 convolution is faster as a matrix product than by torch's convolution."""

ROW = 16
"""Numbers in a row of a matrix product, as far as the pixels have fewer channels; a power of 2."""


class Geometry(NamedTuple):
    """Stride, padding and dilation of a convolution, as pairs (height, width), and the number of groups."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    @classmethod
    def of(cls, conv: nn.Conv2d) -> Geometry:
        """Read the geometry of a module."""
        stride, padding, dilation = (
            cast("tuple[int, int]", tuple(p)) for p in (conv.stride, conv.padding, conv.dilation)
        )
        return cls(stride, padding, dilation, conv.groups)


def convolve(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Convolve ``(B, C, H, W)`` without bias; differentiable."""
    return cast("Tensor", Convolution.apply(x, weight, geometry))


class Convolution(torch.autograd.Function):
    """A convolution with the gradients of this module."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        """Compute the convolution."""
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        return forward(x, weight, geometry)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Compute the gradients; with ``create_graph`` they can be differentiated again."""
        x, weight = ctx.saved_tensors
        needs = needs_grad(ctx, (x, weight))
        if torch.is_grad_enabled():
            return *_recorded_grads(grads[0], x, weight, ctx.geometry, needs), None
        by_x = input_gradient(grads[0], x, weight, ctx.geometry) if needs[0] else None
        by_weight = weight_gradient(grads[0], x, weight, ctx.geometry) if needs[1] else None
        return by_x, by_weight, None


def forward(x: Tensor, weight: Tensor, geometry: Geometry, total: Tensor | None = None) -> Tensor:
    """Compute a convolution outside of autograd.

    Args:
        x: Input.
        weight: Kernel.
        geometry: Stride, padding, dilation, groups.
        total: A tensor of the output's shape that the result is added to in place, and which is returned then.
    """
    if is_pointwise(x, weight, geometry):
        pixels, matrix = _pixels(x, geometry.stride), weight.flatten(1).t()
        if total is not None and layout(total) == torch.channels_last:
            _product(pixels, matrix, _pixels(total))
            return total
        output = _images(_product(pixels, matrix), len(x), output_shape(tuple(x.shape), weight, geometry)[2:])
    else:
        stride, padding, dilation, groups = geometry
        output = F.conv2d(x, weight, None, stride, padding, dilation, groups)
    return output if total is None else total.add_(output)


def empty_output(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Return an uninitialised tensor of the shape and layout of the convolution's output."""
    shape = output_shape(tuple(x.shape), weight, geometry)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout(x))


def layout(x: Tensor) -> torch.memory_format:
    """Return the memory format of an image tensor."""
    last = x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def output_shape(shape: tuple[int, ...], weight: Tensor, geometry: Geometry) -> tuple[int, ...]:
    """Return the output shape of a convolution of an input of ``shape`` ``(B, C, H, W)``."""
    sizes = zip(shape[2:], weight.shape[2:], *geometry[:3], strict=True)
    sides = (
        (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        for size, kernel, stride, padding, dilation in sizes
    )
    return (shape[0], len(weight), *sides)


def input_gradient(grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, total: Tensor | None = None) -> Tensor:
    """Compute the gradient with respect to the input of a convolution.

    Args:
        grad: Gradient with respect to the output.
        x: Input; only its shape and layout are used.
        weight: Kernel.
        geometry: Stride, padding, dilation, groups.
        total: A gradient of the same input that the result is added to in place, and which is returned then.
    """
    if (
        is_pointwise(x, weight, geometry)
        and geometry.stride == (1, 1)
        and total is not None
        and layout(total) == torch.channels_last
    ):
        _product(_pixels(grad), weight.flatten(1), _pixels(total))
        return total
    computed = _input_gradient(grad, x, weight, geometry)
    return computed if total is None else total.add_(computed)


def _input_gradient(grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    if is_pointwise(x, weight, geometry):
        sampled = _images(_product(_pixels(grad), weight.flatten(1)), len(x), grad.shape[2:])
        return sampled if geometry.stride == (1, 1) else _upsample(sampled, x, geometry.stride)
    stride_one = _stride_one(x, weight, geometry)
    if stride_one is not None and stride_one.dilation != geometry.dilation:
        return _upsample(_input_gradient(grad, x[..., ::2, ::2], weight, stride_one), x)
    if stride_one is not None:
        return _input_gradient(_upsample(grad, x), x, weight, stride_one)
    stride, padding, dilation, groups = geometry
    if weight.shape[2:] == (1, 1) and (stride, padding, groups) == ((1, 1), (0, 0), 1):
        return F.conv2d(grad, weight.transpose(0, 1))
    flipped = tuple(d * (k - 1) - p for d, k, p in zip(dilation, weight.shape[2:], padding, strict=True))
    if is_depthwise(x, weight, geometry) and stride == (1, 1) and min(flipped) >= 0:
        return F.conv2d(grad, weight.flip(2, 3), None, 1, flipped, dilation, groups)
    return _torch_gradient(grad, x, weight, geometry, 0)


def weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Compute the gradient with respect to the kernel of a convolution.

    Args:
        grad: Gradient with respect to the output.
        x: Input.
        weight: Kernel; only its shape is used.
        geometry: Stride, padding, dilation, groups.
    """
    if is_pointwise(x, weight, geometry):
        return _product_of_columns(_pixels(grad), _pixels(x, geometry.stride)).view_as(weight)
    stride_one = _stride_one(x, weight, geometry)
    if stride_one is not None and stride_one.dilation != geometry.dilation:
        sampled = x[..., ::2, ::2].contiguous(memory_format=torch.channels_last)
        return weight_gradient(grad, sampled, weight, stride_one)
    if stride_one is not None:
        return weight_gradient(_upsample(grad, x), x, weight, stride_one)
    stride, padding, dilation, groups = geometry
    rows, columns = weight.shape[2:]
    if not is_depthwise(x, weight, geometry) or x.shape[1] < MIN_CHANNELS:
        return _torch_gradient(grad, x, weight, geometry, 1)
    even = x.shape[2] % 2 == x.shape[3] % 2 == 0
    if (stride, dilation) == ((1, 1), (2, 2)) and even and padding == (rows - 1, columns - 1) and rows % 2 == 1:
        undilated = Geometry(stride, (padding[0] // 2, padding[1] // 2), (1, 1), groups)
        return weight_gradient(_space_to_batch(grad), _space_to_batch(x), weight, undilated)
    if columns == 5 and padding[1] == 2 and dilation == (1, 1):
        narrow, unpadded = weight[..., :3], Geometry(stride, (padding[0], 0), dilation, groups)
        left = _torch_gradient(grad, F.pad(x, (2, 0)), narrow, unpadded, 1)
        right = _torch_gradient(grad, F.pad(x, (0, 2)), narrow, unpadded, 1)
        return torch.cat([left, right[..., 1:]], 3)
    return _torch_gradient(grad, x, weight, geometry, 1)


def is_pointwise(x: Tensor, weight: Tensor, geometry: Geometry) -> bool:
    """Return whether the convolution is computed as a matrix product of pixels and kernel.

    It needs no copy of all pixels, and is faster for small images.
    """
    if x.device.type != "cpu" or weight.shape[2:] != (1, 1) or geometry.padding != (0, 0) or geometry.groups != 1:
        return False
    product = x.numel() * len(weight) // (geometry.stride[0] * geometry.stride[1])
    return product <= MAX_PRODUCT and x.is_contiguous(memory_format=torch.channels_last)


def is_depthwise(x: Tensor, weight: Tensor, geometry: Geometry) -> bool:
    """Return whether this is a depthwise convolution for which torch's backward kernels may be slow."""
    return (
        x.device.type == "cpu"
        and geometry.groups == x.shape[1] == weight.shape[0]
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def _pixels(x: Tensor, stride: tuple[int, int] = (1, 1)) -> Tensor:
    """Return the pixels of ``(B, C, H, W)``, every ``stride``-th of them, as ``(B * H * W, C)``."""
    return x.permute(0, 2, 3, 1)[:, :: stride[0], :: stride[1]].reshape(-1, x.shape[1])


def _images(pixels: Tensor, batch: int, sides: Sequence[int]) -> Tensor:
    """Return pixels ``(B * H * W, C)`` as ``(B, C, H, W)`` in channels-last memory."""
    return pixels.view(batch, *sides, -1).permute(0, 3, 1, 2)


def _product(pixels: Tensor, matrix: Tensor, total: Tensor | None = None) -> Tensor:
    """Return the matrix product, or add it to ``total`` in place.

    Pixels of few channels are multiplied several at once, by a block-diagonal matrix: rows of a few numbers take most
    of their time for what is done once a row.
    """
    times = _pixels_a_row(len(pixels), *matrix.shape)
    if times > 1:
        blocks = matrix.new_zeros(times, len(matrix), times, matrix.shape[1])
        blocks.diagonal(dim1=0, dim2=2).copy_(matrix[..., None])
        matrix = blocks.view(times * len(matrix), -1)
        pixels = pixels.reshape(-1, len(matrix))
    if total is None:
        return (pixels @ matrix).view(-1, matrix.shape[1] // times)
    total.view(-1, matrix.shape[1]).addmm_(pixels, matrix)
    return total


def _product_of_columns(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a.t() @ b`` for pixels a and b; see ``_product``."""
    times = _pixels_a_row(len(a), a.shape[1], b.shape[1])
    if times == 1:
        return a.t() @ b
    both = a.reshape(-1, times * a.shape[1]).t() @ b.reshape(-1, times * b.shape[1])
    return both.view(times, a.shape[1], times, b.shape[1]).diagonal(dim1=0, dim2=2).sum(-1)


def _pixels_a_row(pixels: int, *channels: int) -> int:
    return gcd(pixels, ROW // max(channels)) if max(channels) < ROW else 1


def _stride_one(x: Tensor, weight: Tensor, geometry: Geometry) -> Geometry | None:
    """Return the convolution of stride 1 that a depthwise one of stride 2 can be derived from, or None.

    Without dilation the result is every second pixel of that convolution's output. With dilation 2 it is that
    convolution, undilated, of every second pixel.
    """
    stride, padding, dilation, groups = geometry
    rows, columns = weight.shape[2:]
    if not is_depthwise(x, weight, geometry) or stride != (2, 2) or rows % 2 == 0 or columns % 2 == 0:
        return None
    half = (rows // 2, columns // 2)
    if dilation not in ((1, 1), (2, 2)) or padding != (dilation[0] * half[0], dilation[1] * half[1]):
        return None
    return Geometry((1, 1), half, (1, 1), groups)


def _upsample(grad: Tensor, like: Tensor, stride: tuple[int, int] = (2, 2)) -> Tensor:
    """Return an image of the size of ``like`` with ``grad`` at every ``stride``-th pixel, and zeros between."""
    upsampled = torch.zeros_like(like, memory_format=torch.channels_last)
    upsampled[..., :: stride[0], :: stride[1]] = grad
    return upsampled


def _space_to_batch(x: Tensor) -> Tensor:
    """Return the four images of every second row and column: ``(B, C, H, W)`` to ``(4 B, C, H / 2, W / 2)``."""
    batch, channels, height, width = x.shape
    halves = x.permute(0, 2, 3, 1).reshape(batch, height // 2, 2, width // 2, 2, channels)
    separate = halves.permute(2, 4, 0, 1, 3, 5).reshape(4 * batch, height // 2, width // 2, channels)
    return separate.permute(0, 3, 1, 2)


def _torch_gradient(grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, which: int) -> Tensor:
    """Return torch's own gradient with respect to the input (``which`` = 0) or the kernel (1)."""
    stride, padding, dilation, groups = geometry
    mask = [which == 0, which == 1, False]
    # torch.nn.grad has functions for both, but they replace the tensor that is not needed by one that is not in
    # channels-last memory, and the layout decides which kernel torch runs.
    grads: Any = torch.ops.aten.convolution_backward(
        grad, x, weight, None, stride, padding, dilation, False, [0, 0], groups, mask
    )
    return cast("Tensor", grads[which])


def _recorded_grads(
    grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, needs: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Compute the gradients of input and kernel of a convolution; they can be differentiated."""
    if (folder := second_order()) is not None:
        return folder.convolution_grads(grad, x, weight, geometry, needs)

    def compute(x: Tensor, weight: Tensor) -> Tensor:
        stride, padding, dilation, groups = geometry
        return F.conv2d(x, weight, None, stride, padding, dilation, groups)

    by_x, by_weight = differentiable_grads(compute, [x, weight], grad, needs)
    return by_x, by_weight
