"""Replaces torch functions in a forward pass by ones with a cheap second derivative.

The exact second order profits outside of choices, too: in stems, preprocessing layers and candidates that cannot be
fused. Convolutions and BatchNorm are computed by ``nasreg.nn.fast``; ReLU and concatenation are here, because torch's
second derivatives of them fill whole images with zeros. The first order gains nothing from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from nasreg.nn.fast import batch_norm, convolution
from nasreg.nn.fast.convolution import Geometry, layout
from nasreg.nn.fast.double_backward import DoubleBackward
from nasreg.nn.fast.passes import relu_gradient


class FastDoubleBackward(TorchFunctionMode):
    """The context of ``nasreg.nn.fast_double_backward``.

    It has an effect on a CPU, on images in channels-last memory; everything else is computed by torch.
    """

    def __init__(self, settings: DoubleBackward) -> None:
        super().__init__()
        self.settings = settings

    def __enter__(self) -> FastDoubleBackward:
        """Enter the context."""
        self._token = _requested.set(self.settings)
        super().__enter__()  # type: ignore[no-untyped-call]  # torch's
        return self

    def __exit__(self, *error: Any) -> None:
        """Leave the context."""
        super().__exit__(*error)  # type: ignore[no-untyped-call]  # torch's
        _requested.reset(self._token)

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Compute a torch function."""
        del types
        output: Tensor | None = None
        if func is F.conv2d:
            output = _conv2d(*args, **(kwargs or {}))
        elif func is F.batch_norm:
            output = _batch_norm(*args, **(kwargs or {}))
        elif func is F.relu:
            output = _relu(*args, **(kwargs or {}))
        elif func is torch.cat:
            output = _cat(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {})) if output is None else output


_requested: ContextVar[DoubleBackward | None] = ContextVar("fast double backward", default=None)


def requested() -> DoubleBackward | None:
    """Return the settings of the innermost context."""
    return _requested.get()


def _is_supported(x: Any) -> bool:
    return (
        type(x) is Tensor
        and x.device.type == "cpu"
        and x.dim() == 4
        and x.is_contiguous(memory_format=torch.channels_last)
        and x.numel() > x.shape[1]
        and not torch.is_autocast_enabled("cpu")
    )


# Each of the following has the signature of the torch function, and returns None where torch's own is to be called.


def _conv2d(
    input: Tensor,  # noqa: A002  # torch's name
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    if bias is not None or isinstance(padding, str) or not _is_supported(input) or input.dtype != weight.dtype:
        return None
    geometry = Geometry(_pair(stride), _pair(padding), _pair(dilation), groups)
    if convolution.is_pointwise(input, weight, geometry) or convolution.is_depthwise(input, weight, geometry):
        return convolution.convolve(input, weight, geometry)
    return None


def _pair(value: Any) -> tuple[int, int]:
    height, width = (value, value) if isinstance(value, int) else value
    return height, width


def _batch_norm(
    input: Tensor,  # noqa: A002  # torch's name
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    if (
        not training
        or not _is_supported(input)
        or any(each is not None and each.dtype != input.dtype for each in (weight, bias))
    ):
        return None
    output, (mean, invstd) = batch_norm.normalize(input, batch_norm.Affine(weight, bias), eps)
    if running_mean is not None and running_var is not None:
        n = batch_norm.count([input])
        batch_norm.update_running(running_mean, running_var, mean, invstd**-2 - eps, n, momentum)
    return output


def _relu(input: Tensor, inplace: bool = False) -> Tensor | None:  # noqa: A002  # torch's name
    if inplace or not _is_supported(input):
        return None
    return cast("Tensor", _ReLU.apply(input))


class _ReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        output = torch.relu(x)
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        [output] = ctx.saved_tensors
        return _ReLUGradient.apply(grads[0], output.detach())


class _ReLUGradient(torch.autograd.Function):
    """The gradient of a ReLU as a function of the output gradient; the output of the ReLU is a constant."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, output: Tensor) -> Any:
        ctx.save_for_backward(output)
        return relu_gradient(grad, output)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return _ReLUGradient.apply(grads[0], *ctx.saved_tensors), None


def _cat(tensors: Sequence[Tensor], dim: int = 0, **others: Any) -> Tensor | None:
    if dim != 1 or others or not all(map(_is_supported, tensors)) or len({x.dtype for x in tensors}) > 1:
        return None
    return cast("Tensor", _Concat.apply(*tensors))


class _Concat(torch.autograd.Function):
    """The concatenation of channels."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        ctx.channels = [x.shape[1] for x in tensors]
        return torch.cat(tensors, 1)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return _Split.apply(grads[0], ctx.channels)


class _Split(torch.autograd.Function):
    """The opposite of ``_Concat``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, channels: Sequence[int]) -> tuple[Tensor, ...]:
        del ctx
        return tuple(part.contiguous(memory_format=layout(x)) for part in torch.split(x, list(channels), 1))

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        del ctx
        return _Concat.apply(*grads), None
