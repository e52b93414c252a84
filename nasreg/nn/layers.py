"""Makes torch's own layers, wherever a model calls them, cheap to differentiate twice.

So the exact second order profits in layers that no choice has to do with: stems, preprocessings, candidates of other
forms than ``nasreg.nn.fused`` knows. The first order has nothing to gain by it. Convolutions and BatchNorm compute as
``kernels`` and ``norms`` say; ReLU and concatenation are written here, since torch's second derivatives of them fill
whole images with zeros.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from nasreg.nn import kernels, norms
from nasreg.nn.kernels import Geometry, layout


class FastLayers(TorchFunctionMode):
    """A context in which 1x1 and depthwise convolutions, BatchNorm, ReLU and concatenation cost less the second time.

    The results are the same. It has an effect on a CPU, on images in channels-last memory; everything else is computed
    as it is.

    Args:
        keep: Keep also what sums of candidates could compute again for the second derivative: faster, and more memory.
    """

    def __init__(self, *, keep: bool = False) -> None:
        super().__init__()
        self.keep = keep

    def __enter__(self) -> FastLayers:
        """Begin."""
        self._token = _active.set(self)
        super().__enter__()  # type: ignore[no-untyped-call]  # torch's
        return self

    def __exit__(self, *error: Any) -> None:
        """End."""
        super().__exit__(*error)  # type: ignore[no-untyped-call]  # torch's
        _active.reset(self._token)

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Compute one of torch's functions."""
        del types
        found: Tensor | None = None
        if func is F.conv2d:
            found = _convolution(*args, **(kwargs or {}))
        elif func is F.batch_norm:
            found = _batch_norm(*args, **(kwargs or {}))
        elif func is F.relu:
            found = _relu(*args, **(kwargs or {}))
        elif func is torch.cat:
            found = _concatenated(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {})) if found is None else found


_active: ContextVar[FastLayers | None] = ContextVar("fast layers", default=None)


def active() -> FastLayers | None:
    """Return the innermost of these contexts."""
    return _active.get()


def _fits(x: Any) -> bool:
    return (
        type(x) is Tensor
        and x.device.type == "cpu"
        and x.dim() == 4
        and x.is_contiguous(memory_format=torch.channels_last)
        and x.numel() > x.shape[1]
        and not torch.is_autocast_enabled("cpu")
    )


def _convolution(
    input: Tensor,  # noqa: A002  # as torch calls it
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    """Return the convolution, where there is a faster way to compute it."""
    if bias is not None or isinstance(padding, str) or not _fits(input) or input.dtype != weight.dtype:
        return None
    geometry = Geometry(_pair(stride), _pair(padding), _pair(dilation), groups)
    if kernels.is_pointwise(input, weight, geometry) or kernels.is_depthwise(input, weight, geometry):
        return kernels.convolve(input, weight, geometry)
    return None


def _pair(value: Any) -> tuple[int, int]:
    height, width = (value, value) if isinstance(value, int) else value
    return height, width


def _batch_norm(
    input: Tensor,  # noqa: A002  # as torch calls it
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    """Return BatchNorm with the statistics of the batch, where that is wanted."""
    if (
        not training
        or not _fits(input)
        or any(each is not None and each.dtype != input.dtype for each in (weight, bias))
    ):
        return None
    output, (mean, inverse) = norms.normalise(input, norms.Affine(weight, bias), eps)
    if running_mean is not None and running_var is not None:
        norms.move(running_mean, running_var, mean, inverse**-2 - eps, norms.count([input]), momentum)
    return output


def _relu(input: Tensor, inplace: bool = False) -> Tensor | None:  # noqa: A002  # as torch calls it
    """Return the ReLU, where it makes a new tensor."""
    if inplace or not _fits(input):
        return None
    return cast("Tensor", _Relu.apply(input))


class _Relu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        output = torch.relu(x)
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        [output] = ctx.saved_tensors
        return _Positive.apply(gradients[0], output.detach())


class _Positive(torch.autograd.Function):
    """A tensor where another is positive, and elsewhere zero; the other is a constant."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, where: Tensor) -> Any:
        ctx.save_for_backward(where)
        return torch.ops.aten.threshold_backward(x, where, 0)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return _Positive.apply(gradients[0], *ctx.saved_tensors), None


def _concatenated(tensors: Sequence[Tensor], dim: int = 0, **others: Any) -> Tensor | None:
    """Return images with their channels one after the other."""
    if dim != 1 or others or not all(map(_fits, tensors)) or len({x.dtype for x in tensors}) > 1:
        return None
    return cast("Tensor", _Concatenated.apply(*tensors))


class _Concatenated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        ctx.channels = [x.shape[1] for x in tensors]
        return torch.cat(tensors, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return _Apart.apply(gradients[0], ctx.channels)


class _Apart(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, channels: Sequence[int]) -> tuple[Tensor, ...]:
        del ctx
        return tuple(part.contiguous(memory_format=layout(x)) for part in torch.split(x, list(channels), 1))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        del ctx
        return _Concatenated.apply(*gradients), None
