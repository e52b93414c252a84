"""BatchNorm in training: its line through a batch, its gradient, and how both move along a direction.

The formulas of the first derivative are those of Ioffe and Szegedy (arXiv 1502.03167). With the normalised input
``n = inverse * (x - mean)`` all four are sums of images, each times a number by channel:

- the output is ``factor * x + shift``;
- the gradient by the input is ``factor * (g - mean(g) - n * mean(g * n))``;
- when input and parameters move along a direction, the output moves by the derivative of the first,
- and the gradient by that of the second.

torch's own second derivative of BatchNorm on a CPU takes four times as many passes through memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from nasreg.nn.kernels import last_derivatives


class Statistics(NamedTuple):
    """Mean and inverse standard deviation of each channel of a batch."""

    mean: Tensor
    inverse: Tensor


class Drift(NamedTuple):
    """How a batch moves along a direction, by channel: the mean of its tangent, and of that times the normalised batch.

    They are those of ``Statistics`` but for factors.
    """

    mean: Tensor
    product: Tensor


class Sums(NamedTuple):
    """Of a gradient by the output, by channel: they are the gradients by scale and shift."""

    scale: Tensor
    shift: Tensor


class Affine(NamedTuple):
    """Scale and shift of each channel, or how they move; None for ones and zeros (if they move: for no movement)."""

    scale: Tensor | None
    shift: Tensor | None

    @property
    def empty(self) -> bool:
        """Whether both are None."""
        return self.scale is None and self.shift is None


class Line(NamedTuple):
    """Numbers by channel, for ``factor * x + shift``."""

    factor: Tensor
    shift: Tensor

    def of(self, x: Tensor) -> Tensor:
        """Return it for ``(B, C, H, W)``."""
        return torch.addcmul(wide(self.shift), x, wide(self.factor))


def wide(channels: Tensor) -> Tensor:
    """Return numbers by channel in a form that goes with ``(B, C, H, W)``."""
    return channels[:, None, None]


def sums(gradients: Sequence[Tensor], chunks: Sequence[Tensor], statistics: Statistics) -> Sums:
    """Return the sums of a gradient, and of that times the normalised batch; both are given in chunks."""
    mean, inverse = statistics
    each = [
        torch.ops.aten.native_batch_norm_backward(
            gradient, chunk, None, None, None, mean, inverse, True, 0.0, [False, True, True]
        )[1:]
        for gradient, chunk in zip(gradients, chunks, strict=True)
    ]
    scale, shift = (torch.stack(parts).sum(0) for parts in zip(*each, strict=True))
    return Sums(scale, shift)


def products(gradients: Sequence[Tensor], tangents: Sequence[Tensor]) -> Tensor:
    """Return the sums, by channel, of the products of two batches in chunks."""
    channels = gradients[0].shape[1]
    plain = Statistics(gradients[0].new_zeros(channels), gradients[0].new_ones(channels))
    return sums(gradients, tangents, plain).scale


def drift(tangents: Sequence[Tensor], chunks: Sequence[Tensor], statistics: Statistics) -> Drift:
    """Return how a batch in chunks moves."""
    found = sums(tangents, chunks, statistics)
    n = count(chunks)
    return Drift(found.shift / n, found.scale / n)


def count(chunks: Sequence[Tensor]) -> int:
    """Return how many values a channel has."""
    return sum(chunk.numel() for chunk in chunks) // chunks[0].shape[1]


def statistics(chunks: Sequence[Tensor], norm: nn.BatchNorm2d) -> Statistics:
    """Return those of a batch in chunks, and note them in the running statistics of the module."""
    each = [torch.ops.aten.batch_norm_update_stats(chunk, None, None, 0.0) for chunk in chunks]
    mean, variance = each[0]
    if len(each) > 1:
        shares = [len(chunk) / sum(map(len, chunks)) for chunk in chunks]
        mean = sum((share * m for share, (m, _) in zip(shares, each, strict=True)), torch.zeros_like(mean))
        variance = sum(
            (share * (v + (m - mean) ** 2) for share, (m, v) in zip(shares, each, strict=True)),
            torch.zeros_like(variance),
        )
    note_statistics(norm, mean, variance, count(chunks))
    return Statistics(mean, (variance + norm.eps).rsqrt())


def weighted(weight: Tensor, affine: Affine, channels: int) -> Affine:
    """Return scale and shift of a BatchNorm whose output is to be multiplied by a weight.

    Args:
        weight: A scalar.
        affine: Scale and shift.
        channels: Number of channels.
    """
    scale, shift = affine
    # In memory as such: the backward kernel of the CPU reads the scale past its strides.
    scale = weight.expand(channels).contiguous() if scale is None else weight * scale
    return Affine(scale, None if shift is None else weight * shift)


def by_weight(found: Sums, scale: Tensor | None, shift: Tensor | None) -> Tensor:
    """Return the gradient by such a weight, of the sums of the gradient by the output."""
    whole = (found.scale if scale is None else found.scale * scale).sum()
    return whole if shift is None else whole + (found.shift * shift).sum()


def line(statistics: Statistics, affine: Affine) -> Line:
    """Return the output as a line through the input."""
    mean, inverse = statistics
    factor = inverse if affine.scale is None else inverse * affine.scale
    shift = -mean * factor
    return Line(factor, shift if affine.shift is None else shift + affine.shift)


def moved_line(statistics: Statistics, affine: Affine, moved: Drift | None, by: Affine) -> Line:
    """Return how the output moves, but for ``factor`` times the movement of the input, as a line through the input.

    Args:
        statistics: Of the batch.
        affine: Scale and shift.
        moved: How the batch moves, if it does.
        by: How scale and shift move.
    """
    factor = _moved_factor(statistics, affine, moved, by)
    shift = -statistics.mean * factor
    if moved is not None:
        shift = shift - moved.mean * line(statistics, affine).factor
    return Line(factor, shift if by.shift is None else shift + by.shift)


def _moved_factor(statistics: Statistics, affine: Affine, moved: Drift | None, by: Affine) -> Tensor:
    inverse = statistics.inverse
    factor = torch.zeros_like(inverse) if by.scale is None else inverse * by.scale
    if moved is None:
        return factor
    less = inverse.square() * moved.product
    return factor - (less if affine.scale is None else less * affine.scale)


def back(statistics: Statistics, affine: Affine, found: Sums, n: int) -> Line:
    """Return the gradient by the input, but for ``factor`` times that by the output, as a line through the input.

    Args:
        statistics: Of the batch.
        affine: Scale and shift.
        found: The gradient's sums.
        n: Number of values of a channel.
    """
    mean, inverse = statistics
    factor = line(statistics, affine).factor
    along = -factor * inverse * found.scale / n
    return Line(along, -factor * found.shift / n - along * mean)


class MovedBack(NamedTuple):
    """Numbers by channel, for how the gradient by the input moves."""

    gradient: Tensor
    """Times the gradient by the output."""
    gradient_tangent: Tensor
    """Times its movement."""
    tangent: Tensor
    """Times the movement of the input."""
    line: Line
    """Of the input."""

    def of(self, gradient: Tensor, gradient_tangent: Tensor | None, x: Tensor, tangent: Tensor | None) -> Tensor:
        """Return it for ``(B, C, H, W)``."""
        total = self.line.of(x).addcmul_(gradient, wide(self.gradient))
        if gradient_tangent is not None:
            total.addcmul_(gradient_tangent, wide(self.gradient_tangent))
        return total if tangent is None else total.addcmul_(tangent, wide(self.tangent))


def moved_sums(
    found: Sums, statistics: Statistics, moved: Drift | None, products: Tensor | None, own: Sums | None
) -> Sums:
    """Return how the sums of a gradient move.

    Args:
        found: The sums.
        statistics: Of the batch.
        moved: How the batch moves, if it does.
        products: Of the gradient with the movement of the batch; see ``products``.
        own: The sums of the gradient's own movement, if it moves.
    """
    scale, shift = own if own is not None else (torch.zeros_like(found.scale), torch.zeros_like(found.shift))
    if moved is not None and products is not None:
        mixed = products - moved.mean * found.shift - moved.product * found.scale
        scale = scale + statistics.inverse * mixed
    return Sums(scale, shift)


def moved_back(
    statistics: Statistics, affine: Affine, moved: Drift | None, by: Affine, found: Sums, found_moved: Sums, n: int
) -> MovedBack:
    """Return how the gradient by the input moves.

    Args:
        statistics: Of the batch.
        affine: Scale and shift.
        moved: How the batch moves, if it does.
        by: How scale and shift move.
        found: The gradient's sums.
        found_moved: How those move.
        n: Number of values of a channel.
    """
    mean, inverse = statistics
    factor = line(statistics, affine).factor
    factor_moved = _moved_factor(statistics, affine, moved, by)
    tangent = -factor * inverse * found.scale / n
    along = -(factor_moved * found.scale + factor * found_moved.scale) / n
    constant = -(factor_moved * found.shift + factor * found_moved.shift) / n
    if moved is not None:
        along = along - tangent * moved.product
        constant = constant - tangent * moved.mean
    along = along * inverse
    return MovedBack(factor_moved, factor, tangent, Line(along, constant - along * mean))


def normalise(x: Tensor, affine: Affine, eps: float) -> tuple[Tensor, Statistics]:
    """Return BatchNorm of ``(B, C, H, W)`` with the statistics of the batch, and those; differentiable twice."""
    output, mean, inverse = cast("Any", _Normalise.apply(x, affine.scale, affine.shift, eps))
    return output, Statistics(mean, inverse)


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor | None, shift: Tensor | None, eps: float) -> Any:
        output, mean, inverse = torch.native_batch_norm(x, scale, shift, None, None, True, 0.0, eps)
        ctx.save_for_backward(x, scale, shift, mean, inverse)
        ctx.mark_non_differentiable(mean, inverse)
        return output, mean, inverse

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return *_NormaliseGradient.apply(gradients[0], *ctx.saved_tensors), None


class _NormaliseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, scale: Tensor | None, shift: Tensor | None, *statistics: Tensor) -> Any:
        wanted = [True, scale is not None, shift is not None]
        found = torch.ops.aten.native_batch_norm_backward(g, x, scale, None, None, *statistics, True, 0.0, wanted)
        ctx.save_for_backward(g, x, scale, *statistics)
        ctx.set_materialize_grads(False)
        return tuple(each if want else None for each, want in zip(found, wanted, strict=True))

    @staticmethod
    def backward(ctx: Any, *tangents: Any) -> Any:
        g, x, scale, mean, inverse = ctx.saved_tensors
        with torch.no_grad():
            found = _second_derivative(g, x, scale, Statistics(mean, inverse), *tangents)
        return *last_derivatives(found, [*tangents, g, x, scale]), None, None, None


def _second_derivative(
    g: Tensor, x: Tensor, scale: Tensor | None, statistics: Statistics, tangent: Tensor | None, *by: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the derivatives by the gradient, the input and the scale, along tangents for the three gradients."""
    affine, movement = Affine(scale, None), Affine(*by)
    moved = None if tangent is None else drift([tangent], [x], statistics)
    output = moved_line(statistics, affine, moved, movement).of(x)
    if tangent is not None:
        output.addcmul_(tangent, wide(line(statistics, affine).factor))
    found = sums([g], [x], statistics)
    shared = None if tangent is None else products([g], [tangent])
    found_moved = moved_sums(found, statistics, moved, shared, None)
    gradient = moved_back(statistics, affine, moved, movement, found, found_moved, count([x])).of(g, None, x, tangent)
    return output, gradient, None if scale is None else found_moved.scale


def note_statistics(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, n: int) -> None:
    """Move the running statistics of a BatchNorm as a pass in training does.

    Args:
        norm: The module.
        mean: Of each channel of the batch.
        variance: The same, with n in its denominator.
        n: Number of values of a channel.
    """
    if not norm.track_running_stats or norm.running_mean is None or norm.running_var is None:
        return
    move(norm.running_mean, norm.running_var, mean, variance, n, norm.momentum or 0.0)
    count_batch(norm)


def move(
    running_mean: Tensor, running_variance: Tensor, mean: Tensor, variance: Tensor, n: int, momentum: float
) -> None:
    """Move running statistics towards those of a batch; its variance has the number n of values in the denominator."""
    with torch.no_grad():
        running_mean.lerp_(mean, momentum)
        running_variance.lerp_(variance * (n / (n - 1)), momentum)


def count_batch(norm: nn.BatchNorm2d) -> None:
    """Count a batch of training, where a BatchNorm does that."""
    if norm.track_running_stats and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
