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

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
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


def forward(x: Tensor, weight: Tensor, geometry: Geometry, onto: Tensor | None = None) -> Tensor:
    """Return the convolution; autograd does not know of the formulation chosen, so it is for passes without it.

    Args:
        x: Input.
        weight: Kernel.
        geometry: How it moves.
        onto: Another output of ``forward`` of that shape, to which it is added in place; it is returned then.
    """
    if is_pointwise(x, weight, geometry):
        pixels, matrix = _pixels(x, geometry.stride), weight.flatten(1).t()
        if onto is not None and layout(onto) == torch.channels_last:
            _pixels(onto).addmm_(pixels, matrix)
            return onto
        found = _images(pixels @ matrix, len(x), output_shape(tuple(x.shape), weight, geometry)[2:])
    else:
        stride, padding, dilation, groups = geometry
        found = F.conv2d(x, weight, None, stride, padding, dilation, groups)
    return found if onto is None else onto.add_(found)


_left_out: ContextVar[frozenset[int]] = ContextVar("left out", default=frozenset())


@contextmanager
def leaving_out(parameters: Iterable[Tensor]) -> Iterator[None]:
    """A context for backward passes that are to compute no gradient by some parameters.

    ``torch.autograd.grad`` does not tell functions of one's own by what it differentiates, and they would compute
    gradients by everything that requires one.
    """
    token = _left_out.set(frozenset(parameter.data_ptr() for parameter in parameters))
    try:
        yield
    finally:
        _left_out.reset(token)


def wanted(context: Any, tensors: Sequence[Tensor], first: int = 0) -> list[bool]:
    """Return by which tensors of an autograd function a gradient is wanted.

    Args:
        context: Of the function.
        tensors: Some of what it was applied to.
        first: Where they begin among that.
    """
    needs = context.needs_input_grad[first : first + len(tensors)]
    left_out = _left_out.get()
    if not left_out:
        return list(needs)
    # Not by identity: torch's checkpoints give others in the same memory.
    out = [tensor.is_leaf and tensor.data_ptr() in left_out for tensor in tensors]
    return [need and not left for need, left in zip(needs, out, strict=True)]


class _Last(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, *sources: Tensor | None) -> Tensor:
        del ctx, sources
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise RuntimeError(
            "an optimised supernet can be differentiated twice, not three times: compute it plainly, with"
            " trainer.execution=plain or nasreg.nn.set_execution(model, Execution(optimized=False))"
        )


def last_derivatives(values: Sequence[Tensor | None], sources: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Return second derivatives so that whoever differentiates them by what they come from is refused.

    torch's ``once_differentiable`` cuts them off from that, and ``torch.autograd.grad`` then takes them for constants.

    Args:
        values: The derivatives, computed without autograd.
        sources: All that they depend on.
    """
    if not torch.is_grad_enabled():
        return list(values)
    return [None if value is None else cast("Tensor", _Last.apply(value, *sources)) for value in values]


def blank(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Return a tensor of the shape and layout of the convolution, for those that need no more of it."""
    shape = output_shape(tuple(x.shape), weight, geometry)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout(x))


def layout(x: Tensor) -> torch.memory_format:
    """Return the memory format of an image tensor."""
    last = x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def output_shape(shape: tuple[int, ...], weight: Tensor, geometry: Geometry) -> tuple[int, ...]:
    """Return the shape of the convolution of images of a shape ``(B, C, H, W)``."""
    sizes = zip(shape[2:], weight.shape[2:], *geometry[:3], strict=True)
    sides = ((size + 2 * pad - spread * (kernel - 1) - 1) // stride + 1 for size, kernel, stride, pad, spread in sizes)
    return (shape[0], len(weight), *sides)


def input_gradient(
    gradient: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, onto: Tensor | None = None
) -> Tensor:
    """Return the gradient by the input of a convolution.

    Args:
        gradient: By its output.
        x: Its input, of which only the shape counts.
        weight: Its kernel.
        geometry: How it moves.
        onto: Another such gradient, to which it is added in place; it is returned then.
    """
    if (
        is_pointwise(x, weight, geometry)
        and geometry.stride == (1, 1)
        and onto is not None
        and layout(onto) == torch.channels_last
    ):
        _pixels(onto).addmm_(_pixels(gradient), weight.flatten(1))
        return onto
    found = _input_gradient(gradient, x, weight, geometry)
    return found if onto is None else onto.add_(found)


def _input_gradient(gradient: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    if is_pointwise(x, weight, geometry):
        sampled = _images(_pixels(gradient) @ weight.flatten(1), len(x), gradient.shape[2:])
        return sampled if geometry.stride == (1, 1) else _spread(sampled, x, geometry.stride)
    dense = _dense(x, weight, geometry)
    if dense is not None and dense.dilation != geometry.dilation:
        return _spread(_input_gradient(gradient, x[..., ::2, ::2], weight, dense), x)
    if dense is not None:
        return _input_gradient(_spread(gradient, x), x, weight, dense)
    stride, padding, dilation, groups = geometry
    turned = tuple(d * (k - 1) - p for d, k, p in zip(dilation, weight.shape[2:], padding, strict=True))
    if is_depthwise(x, weight, geometry) and stride == (1, 1) and min(turned) >= 0:
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
    if is_pointwise(x, weight, geometry):
        return (_pixels(gradient).t() @ _pixels(x, geometry.stride)).view_as(weight)
    dense = _dense(x, weight, geometry)
    if dense is not None and dense.dilation != geometry.dilation:
        sub = x[..., ::2, ::2].contiguous(memory_format=torch.channels_last)
        return weight_gradient(gradient, sub, weight, dense)
    if dense is not None:
        return weight_gradient(_spread(gradient, x), x, weight, dense)
    stride, padding, dilation, groups = geometry
    rows, columns = weight.shape[2:]
    if not is_depthwise(x, weight, geometry) or x.shape[1] < LEAST_CHANNELS:
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


def is_pointwise(x: Tensor, weight: Tensor, geometry: Geometry) -> bool:
    """Return whether it is a product of matrices, the pixels and the kernel, that needs no copy of all pixels."""
    return (
        x.device.type == "cpu"
        and weight.shape[2:] == (1, 1)
        and geometry.padding == (0, 0)
        and geometry.groups == 1
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def _pixels(x: Tensor, stride: tuple[int, int] = (1, 1)) -> Tensor:
    """Return the pixels of ``(B, C, H, W)``, or those that a stride leaves, as ``(B * H * W, C)``."""
    return x.permute(0, 2, 3, 1)[:, :: stride[0], :: stride[1]].reshape(-1, x.shape[1])


def _images(pixels: Tensor, batch: int, sides: Sequence[int]) -> Tensor:
    """Return ``(B * H * W, C)`` as ``(B, C, H, W)`` in channels-last memory."""
    return pixels.view(batch, *sides, -1).permute(0, 3, 1, 2)


def is_depthwise(x: Tensor, weight: Tensor, geometry: Geometry) -> bool:
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
    if not is_depthwise(x, weight, geometry) or stride != (2, 2) or rows % 2 == 0 or columns % 2 == 0:
        return None
    half = (rows // 2, columns // 2)
    if dilation not in ((1, 1), (2, 2)) or padding != (dilation[0] * half[0], dilation[1] * half[1]):
        return None
    return Geometry((1, 1), half, (1, 1), groups)


def _spread(gradient: Tensor, like: Tensor, stride: tuple[int, int] = (2, 2)) -> Tensor:
    """Return an image of the sizes of ``like`` whose every second pixel is that of ``gradient``, and else zero."""
    spread = torch.zeros_like(like, memory_format=torch.channels_last)
    spread[..., :: stride[0], :: stride[1]] = gradient
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
        by_x, by_weight = wanted(ctx, (x, weight))
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
        by_gradient, by_weight = ctx.needs_input_grad[0], wanted(ctx, [weight], 2)[0]
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
        by_gradient, by_x = wanted(ctx, (gradient, x))
        return (
            _Convolution.apply(x, gradients[0], ctx.geometry) if by_gradient else None,
            _InputGradient.apply(gradient, x.detach(), gradients[0], ctx.geometry) if by_x else None,
            None,
            None,
        )
