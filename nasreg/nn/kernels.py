"""Convolution in the formulation that is fastest for its size, forward and backward, as often differentiable as wanted.

All formulations compute the same sums. On a CPU in channels-last memory the library's kernels of depthwise convolutions
are fast forward, and some of them slow backward (measured by ``benchmarks/search_step.py``):

- A 1x1 convolution is a product of matrices, and so are its gradients.
- The gradient by the input of a convolution of stride 1 is the convolution with the kernel turned around.
- The gradients of a convolution of stride 2 are those of one of stride 1.
- The gradient by a kernel with dilation 2 is that without dilation on the four images of every second row and column.
- The gradient by a kernel 5 wide is put together from those of two kernels 3 wide, of shifted images.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAST_CHANNELS = 8
"""With fewer, the library's own gradient of a dilated kernel is the fastest."""


class Geometry(NamedTuple):
    """How a kernel moves over the image: each a pair (height, width), and the groups of channels."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    @classmethod
    def of(cls, conv: nn.Conv2d) -> Geometry:
        """Return that of a module."""
        stride, padding, dilation = (
            cast("tuple[int, int]", tuple(p)) for p in (conv.stride, conv.padding, conv.dilation)
        )
        return cls(stride, padding, dilation, conv.groups)


def convolve(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Return the convolution of ``(B, C, H, W)`` without bias; differentiable any number of times."""
    return cast("Tensor", _Convolution.apply(x, weight, geometry))


def forward(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Return the convolution; autograd does not know of the formulation chosen, so it is for passes without it."""
    if _pointwise(x, weight, geometry):
        return _images(_pixels(x) @ weight.flatten(1).t(), x)
    stride, padding, dilation, groups = geometry
    return F.conv2d(x, weight, None, stride, padding, dilation, groups)


def input_gradient(gradient: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Return the gradient by the input of a convolution.

    Args:
        gradient: By its output.
        x: Its input, of which only the shape counts.
        weight: Its kernel.
        geometry: How it moves.
    """
    if _pointwise(x, weight, geometry):
        return _images(_pixels(gradient) @ weight.flatten(1), gradient)
    dense = _dense(x, weight, geometry)
    if dense is not None and dense.dilation != geometry.dilation:
        return _spread(input_gradient(gradient, x[..., ::2, ::2], weight, dense), x)
    if dense is not None:
        return input_gradient(_spread(gradient, x), x, weight, dense)
    stride, padding, dilation, groups = geometry
    turned = tuple(d * (k - 1) - p for d, k, p in zip(dilation, weight.shape[2:], padding, strict=True))
    if _depthwise(x, weight, geometry) and stride == (1, 1) and min(turned) >= 0:
        return F.conv2d(gradient, weight.flip(2, 3), None, 1, turned, dilation, groups)
    return _library_gradients(gradient, x, weight, geometry, 0)


def weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Return the gradient by the kernel of a convolution.

    Args:
        gradient: By its output.
        x: Its input.
        weight: Its kernel, of which only the shape counts.
        geometry: How it moves.
    """
    if _pointwise(x, weight, geometry):
        return (_pixels(gradient).t() @ _pixels(x)).view_as(weight)
    dense = _dense(x, weight, geometry)
    if dense is not None and dense.dilation != geometry.dilation:
        sub = x[..., ::2, ::2].contiguous(memory_format=torch.channels_last)
        return weight_gradient(gradient, sub, weight, dense)
    if dense is not None:
        return weight_gradient(_spread(gradient, x), x, weight, dense)
    stride, padding, dilation, groups = geometry
    rows, columns = weight.shape[2:]
    if not _depthwise(x, weight, geometry) or x.shape[1] < LEAST_CHANNELS:
        return _library_gradients(gradient, x, weight, geometry, 1)
    even = x.shape[2] % 2 == x.shape[3] % 2 == 0
    if (stride, dilation) == ((1, 1), (2, 2)) and even and padding == (rows - 1, columns - 1) and rows % 2 == 1:
        undilated = Geometry(stride, (padding[0] // 2, padding[1] // 2), (1, 1), groups)
        return weight_gradient(_every_second(gradient), _every_second(x), weight, undilated)
    if columns == 5 and padding[1] == 2 and dilation == (1, 1):
        narrow, left_out = weight[..., :3], Geometry(stride, (padding[0], 0), dilation, groups)
        left = _library_gradients(gradient, F.pad(x, (2, 0)), narrow, left_out, 1)
        right = _library_gradients(gradient, F.pad(x, (0, 2)), narrow, left_out, 1)
        return torch.cat([left, right[..., 1:]], 3)
    return _library_gradients(gradient, x, weight, geometry, 1)


def _pointwise(x: Tensor, weight: Tensor, geometry: Geometry) -> bool:
    """Return whether it is a product of matrices, the pixels and the kernel, that needs no copy."""
    return (
        x.device.type == "cpu"
        and weight.shape[2:] == (1, 1)
        and geometry == ((1, 1), (0, 0), geometry.dilation, 1)
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def _pixels(x: Tensor) -> Tensor:
    """Return ``(B, C, H, W)`` as ``(B * H * W, C)``."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _images(pixels: Tensor, like: Tensor) -> Tensor:
    """Return ``(B * H * W, C)`` as ``(B, C, H, W)`` in channels-last memory, with the sizes of ``like``."""
    return pixels.view(len(like), *like.shape[2:], -1).permute(0, 3, 1, 2)


def _depthwise(x: Tensor, weight: Tensor, geometry: Geometry) -> bool:
    """Return whether it is a convolution whose backward kernels of the library are worth going round."""
    return (
        x.device.type == "cpu"
        and geometry.groups == x.shape[1] == weight.shape[0]
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def _dense(x: Tensor, weight: Tensor, geometry: Geometry) -> Geometry | None:
    """Return the convolution of stride 1 that one of stride 2 can be taken from, where there is one.

    Without dilation that is every second pixel of what it gives, with dilation 2 it is the convolution without dilation
    of every second pixel.
    """
    stride, padding, dilation, groups = geometry
    rows, columns = weight.shape[2:]
    if not _depthwise(x, weight, geometry) or stride != (2, 2) or rows % 2 == 0 or columns % 2 == 0:
        return None
    half = (rows // 2, columns // 2)
    if dilation not in ((1, 1), (2, 2)) or padding != (dilation[0] * half[0], dilation[1] * half[1]):
        return None
    return Geometry((1, 1), half, (1, 1), groups)


def _spread(gradient: Tensor, like: Tensor) -> Tensor:
    """Return an image of the sizes of ``like`` whose every second pixel is that of ``gradient``, and else zero."""
    spread = torch.zeros_like(like, memory_format=torch.channels_last)
    spread[..., ::2, ::2] = gradient
    return spread


def _every_second(x: Tensor) -> Tensor:
    """Return the images of every second row and column: ``(B, C, H, W)`` to ``(4 B, C, H / 2, W / 2)``."""
    batch, channels, height, width = x.shape
    halves = x.permute(0, 2, 3, 1).reshape(batch, height // 2, 2, width // 2, 2, channels)
    apart = halves.permute(2, 4, 0, 1, 3, 5).reshape(4 * batch, height // 2, width // 2, channels)
    return apart.permute(0, 3, 1, 2)


def _library_gradients(gradient: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, which: int) -> Tensor:
    stride, padding, dilation, groups = geometry
    wanted = [which == 0, which == 1, False]
    found: Any = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, stride, padding, dilation, False, [0, 0], groups, wanted
    )
    return cast("Tensor", found[which])


# The convolution and its two gradients are each linear in two tensors, and the derivatives of each are the other two.
# torch's own second derivative goes through the groups one by one, which are as many as channels here.


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        return forward(x, weight, geometry)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, weight = ctx.saved_tensors
        by_x, by_weight, _ = ctx.needs_input_grad
        return (
            _InputGradient.apply(gradients[0], x.detach(), weight, ctx.geometry) if by_x else None,
            _WeightGradient.apply(gradients[0], x, weight.detach(), ctx.geometry) if by_weight else None,
            None,
        )


class _InputGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(gradient, weight)
        ctx.geometry = geometry
        return input_gradient(gradient, x, weight, geometry)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        gradient, weight = ctx.saved_tensors
        by_gradient, _, by_weight, _ = ctx.needs_input_grad
        return (
            _Convolution.apply(gradients[0], weight, ctx.geometry) if by_gradient else None,
            None,
            _WeightGradient.apply(gradient, gradients[0], weight.detach(), ctx.geometry) if by_weight else None,
            None,
        )


class _WeightGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(gradient, x)
        ctx.geometry = geometry
        return weight_gradient(gradient, x, weight, geometry)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        gradient, x = ctx.saved_tensors
        by_gradient, by_x, _, _ = ctx.needs_input_grad
        return (
            _Convolution.apply(x, gradients[0], ctx.geometry) if by_gradient else None,
            _InputGradient.apply(gradient, x.detach(), gradients[0], ctx.geometry) if by_x else None,
            None,
            None,
        )
