"""BatchNorm in training mode, forward and backward (Ioffe and Szegedy, arXiv 1502.03167).

With the normalised input ``n = invstd * (x - mean)`` and ``factor = invstd * weight`` both passes are sums of images,
each times a number per channel:

- output: ``factor * x + shift``;
- input gradient: ``factor * (g - mean(g) - n * mean(g * n))``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasreg.nn.fast.double_backward import differentiable_grads, second_order

MAX_COLUMNS = 2048
"""Columns of the view of which sums per channel are taken; see ``_columns``."""


MIN_VECTOR = 16
"""With fewer channels, elementwise kernels take several pixels as one; see ``_rows``."""

ROW = 256
"""Numbers that these pixels have together, about."""


class Statistics(NamedTuple):
    """Mean and inverse standard deviation of each channel of a batch."""

    mean: Tensor
    invstd: Tensor


class AffineGrad(NamedTuple):
    """Gradients of the loss with respect to weight and bias, per channel: ``sum(g * n)`` and ``sum(g)``."""

    weight: Tensor
    bias: Tensor


class Affine(NamedTuple):
    """Weight and bias of a BatchNorm, or their tangents; None for ones and zeros (of tangents: both zeros)."""

    weight: Tensor | None
    bias: Tensor | None


class ScaleShift(NamedTuple):
    """The function ``scale * x + shift`` with numbers per channel."""

    scale: Tensor
    shift: Tensor

    def apply(self, x: Tensor) -> Tensor:
        """Compute it for ``(B, C, H, W)``."""
        return scale_shift(x, self.scale, self.shift, torch.empty_like(x))


class InputGrad(NamedTuple):
    """The input gradient as a function of output gradient and input, with numbers per channel."""

    grad_scale: Tensor
    x: ScaleShift

    def apply(self, grad: Tensor, x: Tensor) -> Tensor:
        """Compute it for ``(B, C, H, W)``."""
        return add_scaled(self.x.apply(x), grad, self.grad_scale)


@dataclass(frozen=True)
class BatchNorm:
    """A BatchNorm applied to a batch.

    Attributes:
        statistics: Statistics of the batch.
        affine: Weight and bias.
        count: Number of values per channel.
    """

    statistics: Statistics
    affine: Affine
    count: int

    @cached_property
    def output(self) -> ScaleShift:
        """The output as a function of the input."""
        mean, invstd = self.statistics
        scale = invstd if self.affine.weight is None else invstd * self.affine.weight
        shift = -mean * scale
        return ScaleShift(scale, shift if self.affine.bias is None else shift + self.affine.bias)

    def input_grad(self, affine_grad: AffineGrad) -> InputGrad:
        """Return the input gradient as a function, given the gradients of weight and bias."""
        mean, invstd = self.statistics
        scale = self.output.scale
        x_scale = -scale * invstd * affine_grad.weight / self.count
        return InputGrad(scale, ScaleShift(x_scale, -scale * affine_grad.bias / self.count - x_scale * mean))


def scale_shift(x: Tensor, scale: Tensor, shift: Tensor, out: Tensor) -> Tensor:
    """Compute ``scale * x + shift``, with numbers per channel or single ones, in ``out``, and return that."""
    times, (into, pixels) = _rows(out, x)
    torch.addcmul(_repeated(shift, times), pixels, _repeated(scale, times), out=into)
    return out


def add_scaled(total: Tensor, x: Tensor, scale: Tensor) -> Tensor:
    """Add ``scale * x``, with numbers per channel or a single one, to ``total`` in place, and return that."""
    times, (into, pixels) = _rows(total, x)
    into.addcmul_(pixels, _repeated(scale, times))
    return total


def _rows(*tensors: Tensor) -> tuple[int, list[Tensor]]:
    """Return views of images of few channels with several pixels as one, and how many; others as they are, and 0.

    torch's elementwise kernels with numbers per channel begin anew at each pixel, which takes most of their time where
    it has few channels.
    """
    batch, channels, height, width = tensors[0].shape
    if channels >= MIN_VECTOR or not all(
        x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last) for x in tensors
    ):
        return 0, list(tensors)
    times = gcd(batch * height * width, ROW // MIN_VECTOR * (MIN_VECTOR // channels))
    return times, [x.permute(0, 2, 3, 1).view(-1, times * channels) for x in tensors]


def _repeated(values: Tensor, times: int) -> Tensor:
    """Return numbers per channel, or a single one, in a shape that broadcasts with what ``_rows`` returns."""
    if values.dim() == 0:
        return values
    return values.repeat(times) if times else per_channel(values)


def per_channel(values: Tensor) -> Tensor:
    """Return numbers per channel in a shape that broadcasts with ``(B, C, H, W)``."""
    return values[:, None, None]


def affine_grad(grads: Sequence[Tensor], chunks: Sequence[Tensor], statistics: Statistics) -> AffineGrad:
    """Compute the gradients of weight and bias, given output gradient and batch in chunks."""
    parts = [channel_sums(grad, chunk, statistics) for grad, chunk in zip(grads, chunks, strict=True)]
    return AffineGrad(*(sum(each[1:], each[0]) for each in zip(*parts, strict=True)))


def channel_sums(grad: Tensor, chunk: Tensor, statistics: Statistics | None) -> AffineGrad:
    """Compute ``sum(grad * n)`` and ``sum(grad)`` per channel, where n is the normalised chunk.

    Without statistics, n is the chunk itself.
    """
    times, (grad, chunk) = _columns(grad, chunk)
    columns = chunk.shape[1]
    if statistics is None:
        mean, invstd = chunk.new_zeros(columns), chunk.new_ones(columns)
    else:
        # Contiguous, since the kernel ignores the strides: of one channel, expand and reshape make a view.
        mean, invstd = (each.expand(times, -1).reshape(columns).contiguous() for each in statistics)
    # The backward kernel of BatchNorm takes both sums in one pass through memory; no public function does.
    _, *sums = torch.ops.aten.native_batch_norm_backward(
        grad, chunk, None, None, None, mean, invstd, True, 0.0, [False, True, True]
    )
    return AffineGrad(*(each.view(times, -1).sum(0) if times > 1 else each for each in sums))


def _columns(*tensors: Tensor) -> tuple[int, list[Tensor]]:
    """Return views of images with each channel spread over several columns, and the number of columns per channel.

    torch's CPU kernels give each thread a row of sums with one element per channel. The threads' rows share cache lines
    if they are short: with 8 channels the sums take 40 times as long, with 32 twice.
    """
    batch, channels, height, width = tensors[0].shape
    if not all(x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last) for x in tensors):
        return 1, list(tensors)
    pixels = batch * height * width
    times = gcd(pixels, 2 ** (max(MAX_COLUMNS // channels, 1).bit_length() - 1))
    return times, [
        x.permute(0, 2, 3, 1).view(1, pixels // times, 1, times * channels).permute(0, 3, 1, 2) for x in tensors
    ]


def count(chunks: Sequence[Tensor]) -> int:
    """Return the number of values per channel."""
    return sum(chunk.numel() for chunk in chunks) // chunks[0].shape[1]


def batch_statistics(chunks: Sequence[Tensor], module: nn.BatchNorm2d) -> Statistics:
    """Compute the statistics of a batch in chunks, and update the running statistics of the module."""
    mean, variance = _mean_variance(chunks)
    update_running_stats(module, mean, variance, count(chunks))
    return Statistics(mean, (variance + module.eps).rsqrt())


def _mean_variance(chunks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return mean and variance per channel of a batch in chunks."""
    each = [_chunk_mean_variance(chunk) for chunk in chunks]
    if len(each) == 1:
        return each[0]
    whole = sum(map(len, chunks))
    means, variances = (torch.stack(parts) for parts in zip(*each, strict=True))
    return _pooled(means, variances, means.new_tensor([len(chunk) / whole for chunk in chunks])[:, None])


def _chunk_mean_variance(chunk: Tensor) -> tuple[Tensor, Tensor]:
    if chunk.device.type != "cpu":
        variance, mean = torch.var_mean(chunk, (0, 2, 3), correction=0)
        return mean, variance
    times, (columns,) = _columns(chunk)
    # torch.var_mean reads channels-last memory several times as slowly as this kernel of BatchNorm.
    means, variances = torch.ops.aten.batch_norm_update_stats(columns, None, None, 0.0)
    return (means, variances) if times == 1 else _pooled(means.view(times, -1), variances.view(times, -1), 1 / times)


def _pooled(means: Tensor, variances: Tensor, shares: Tensor | float) -> tuple[Tensor, Tensor]:
    """Return mean and variance of a whole, given those of its parts (one row each) and their shares of the whole."""
    mean = (shares * means).sum(0)
    return mean, (shares * (variances + (means - mean).square())).sum(0)


def scaled_affine(factor: Tensor, affine: Affine, channels: int) -> Affine:
    """Return weight and bias of a BatchNorm whose output is multiplied by a scalar factor."""
    weight, bias = affine
    # Contiguous, since torch's CPU backward kernel ignores the strides of the weight.
    weight = factor.expand(channels).contiguous() if weight is None else factor * weight
    return Affine(weight, None if bias is None else factor * bias)


def factor_grad(grads: AffineGrad, affine: Affine) -> Tensor:
    """Return the gradient of the factor in ``scaled_affine``, given the gradients of the scaled weight and bias."""
    total = (grads.weight if affine.weight is None else grads.weight * affine.weight).sum()
    return total if affine.bias is None else total + (grads.bias * affine.bias).sum()


def normalize(x: Tensor, affine: Affine, eps: float) -> tuple[Tensor, Statistics]:
    """Return the BatchNorm of ``(B, C, H, W)`` with the statistics of the batch, and those; differentiable."""
    output, mean, invstd = cast("Any", _Normalize.apply(x, affine.weight, affine.bias, eps))
    return output, Statistics(mean, invstd)


class _Normalize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Any:
        mean, variance = _mean_variance([x])
        invstd = (variance + eps).rsqrt()
        norm = BatchNorm(Statistics(mean, invstd), Affine(weight, bias), count([x]))
        ctx.save_for_backward(x, weight, bias, mean, invstd)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, invstd)
        ctx.set_materialize_grads(False)
        return norm.output.apply(x), mean, invstd

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        grad, (x, weight, bias, mean, invstd) = grads[0], ctx.saved_tensors
        if grad is None:
            return None, None, None, None
        statistics = Statistics(mean, invstd)
        if torch.is_grad_enabled():
            return *_recorded_grads(grad, x, weight, bias, statistics, ctx.eps), None
        return *normalize_backward(grad, x, Affine(weight, bias), statistics)[:3], None


def normalize_backward(
    grad: Tensor, x: Tensor, affine: Affine, statistics: Statistics
) -> tuple[Tensor, Tensor | None, Tensor | None, AffineGrad]:
    """Return the gradients of input, weight and bias (None where there is none), and the sums they are made of."""
    norm = BatchNorm(statistics, affine, count([x]))
    sums = affine_grad([grad], [x], statistics)
    by_x = norm.input_grad(sums).apply(grad, x)
    return by_x, None if affine.weight is None else sums.weight, None if affine.bias is None else sums.bias, sums


def update_running_stats(module: nn.BatchNorm2d, mean: Tensor, variance: Tensor, n: int) -> None:
    """Update the running statistics of a BatchNorm as its forward pass in training mode does.

    Args:
        module: The BatchNorm.
        mean: Mean of the batch, per channel.
        variance: Biased variance of the batch, per channel.
        n: Number of values per channel.
    """
    if not module.track_running_stats or module.running_mean is None or module.running_var is None:
        return
    update_running(module.running_mean, module.running_var, mean, variance, n, module.momentum or 0.0)
    count_batch(module)


def update_running(
    running_mean: Tensor, running_var: Tensor, mean: Tensor, variance: Tensor, n: int, momentum: float
) -> None:
    """Update running statistics in place; ``variance`` is the biased one of ``n`` values."""
    with torch.no_grad():
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(variance * (n / (n - 1)), momentum)


def count_batch(module: nn.BatchNorm2d) -> None:
    """Count a training batch in ``num_batches_tracked``, where a BatchNorm has it."""
    if module.track_running_stats and module.num_batches_tracked is not None:
        module.num_batches_tracked.add_(1)


def _recorded_grads(
    grad: Tensor, x: Tensor, weight: Tensor | None, bias: Tensor | None, statistics: Statistics, eps: float
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Compute the gradients of input, weight and bias of a BatchNorm in training; they can be differentiated."""
    if (folder := second_order()) is not None:
        return folder.batch_norm_grads(grad, x, weight, bias, statistics)

    def compute(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        return F.batch_norm(x, None, None, weight, bias, True, 0.0, eps)

    by_x, by_weight, by_bias = differentiable_grads(
        compute, [x, weight, bias], grad, [True, weight is not None, bias is not None]
    )
    return by_x, by_weight, by_bias
