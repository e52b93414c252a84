"""BatchNorm over the whole batch of several processes, on any device and differentiable twice.

``torch.nn.SyncBatchNorm`` computes on GPUs only, and has no second derivative, which the exact second order of bilevel
optimisation needs. Here the sums over the batch are exchanged by a function whose derivatives are exchanged, too, and
all else is left to autograd. That takes more memory, and an exchange for each of two sums and for their gradients.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from nasreg.errors import SpaceError


class Synchronized(Protocol):
    """The processes that compute a part of a batch each."""

    group: dist.ProcessGroup | None
    copies: int
    """Number of processes that compute the same part of the present batch."""


class _SynchronizedNorm(nn.modules.batchnorm._BatchNorm):
    """A BatchNorm over the whole batch of several processes."""

    processes: Synchronized

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name
        """Normalise ``(B, C, ...)``."""
        self._check_input_dim(input)  # type: ignore[no-untyped-call]  # torch's
        return _normalize(self, input) if self.training else super().forward(input)


class SynchronizedBatchNorm1d(_SynchronizedNorm, nn.BatchNorm1d):
    """``torch.nn.BatchNorm1d``, synchronised."""


class SynchronizedBatchNorm2d(_SynchronizedNorm, nn.BatchNorm2d):
    """``torch.nn.BatchNorm2d``, synchronised."""


class SynchronizedBatchNorm3d(_SynchronizedNorm, nn.BatchNorm3d):
    """``torch.nn.BatchNorm3d``, synchronised."""


_SYNCHRONIZED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: SynchronizedBatchNorm1d,
    nn.BatchNorm2d: SynchronizedBatchNorm2d,
    nn.BatchNorm3d: SynchronizedBatchNorm3d,
}


def synchronize(model: nn.Module, processes: Synchronized) -> None:
    """Let each BatchNorm of a model normalise by the statistics of the whole batch while it trains.

    The modules stay the same objects with the same parameters and buffers: choices and optimisers refer to them.

    Args:
        model: The model.
        processes: The processes.

    Raises:
        SpaceError: A BatchNorm is of a class that is not known.
    """
    for name, module in model.named_modules():
        if type(module) in _SYNCHRONIZED:
            module.__class__ = _SYNCHRONIZED[type(module)]
            cast("_SynchronizedNorm", module).processes = processes
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and not isinstance(module, _SynchronizedNorm):
            raise SpaceError(
                f"the BatchNorm {name!r} of the model is a {type(module).__module__}.{type(module).__name__}, which"
                " trainer.sync_batch_norm cannot synchronise: use torch.nn.BatchNorm2d, or leave the option out"
            )


def localize(model: nn.Module) -> None:
    """Undo ``synchronize``."""
    usual = {changed: kind for kind, changed in _SYNCHRONIZED.items()}
    for module in model.modules():
        if type(module) in usual:
            module.__class__ = usual[type(module)]
            del cast("_SynchronizedNorm", module).processes


def _normalize(norm: _SynchronizedNorm, images: Tensor) -> Tensor:
    """Compute a BatchNorm in training mode on ``(B, C, ...)``, by the statistics over all processes."""
    x = images.float() if images.dtype in (torch.bfloat16, torch.float16) else images
    dims = [dim for dim in range(x.dim()) if dim != 1]
    shape = [1, -1, *[1] * (x.dim() - 2)]
    group = norm.processes.group
    count = _count(x, group)
    mean = _summed(x.sum(dims), group) / count
    centred = x - mean.view(shape)
    variance = _summed(centred.square().sum(dims), group) / count
    scale = (variance + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight
    output = centred * scale.view(shape)
    if norm.bias is not None:
        output = output + norm.bias.view(shape)
    _update_running(norm, mean.detach(), variance.detach(), count / norm.processes.copies)
    return output.to(images.dtype)


class _Sum(torch.autograd.Function):
    """The sum over the processes; its gradient is the sum of theirs, at any order."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, group: Any) -> Tensor:
        ctx.group = group
        summed = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed, group=group)
        return summed

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return _Sum.apply(grads[0], ctx.group), None


def _summed(values: Tensor, group: Any) -> Tensor:
    return cast("Tensor", _Sum.apply(values, group))


def _count(x: Tensor, group: Any) -> Tensor:
    """Return the number of values per channel, over all processes."""
    count = x.new_tensor(x.numel() // x.shape[1])
    dist.all_reduce(count, group=group)
    return count


def _update_running(norm: _SynchronizedNorm, mean: Tensor, variance: Tensor, count: Tensor) -> None:
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked.add_(1)
    momentum = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), momentum)
    norm.running_var.lerp_((variance * count / (count - 1)).to(norm.running_var.dtype), momentum)
