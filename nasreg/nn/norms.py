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
from dataclasses import dataclass
from functools import cached_property
from math import gcd
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


WIDE = 2048
"""So many columns a tensor gets, about, whose columns are to be summed."""


def _columns(*tensors: Tensor) -> tuple[int, list[Tensor]]:
    """Return a view of images in which a channel is in several columns, and how many; the columns are channels there.

    torch's kernels give each thread a row of sums by column, and threads whose rows are short get in each other's way:
    with 8 channels they take 40 times as long, with 32 twice. One thread alone takes as long with any number.
    """
    batch, channels, height, width = tensors[0].shape
    if not all(x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last) for x in tensors):
        return 1, list(tensors)
    pixels = batch * height * width
    times = gcd(pixels, 2 ** (max(WIDE // channels, 1).bit_length() - 1))
    return times, [
        x.permute(0, 2, 3, 1).view(1, pixels // times, 1, times * channels).permute(0, 3, 1, 2) for x in tensors
    ]


def sums(gradients: Sequence[Tensor], chunks: Sequence[Tensor], statistics: Statistics) -> Sums:
    """Return the sums of a gradient, and of that times the normalised batch; both are given in chunks."""
    parts = [_sums(gradient, chunk, statistics) for gradient, chunk in zip(gradients, chunks, strict=True)]
    return Sums(*(sum(each[1:], each[0]) for each in zip(*parts, strict=True)))


def products(gradients: Sequence[Tensor], tangents: Sequence[Tensor]) -> Tensor:
    """Return the sums, by channel, of the products of two batches in chunks."""
    parts = [_sums(gradient, tangent, None).scale for gradient, tangent in zip(gradients, tangents, strict=True)]
    return sum(parts[1:], parts[0])


def _sums(gradient: Tensor, chunk: Tensor, statistics: Statistics | None) -> Sums:
    times, (gradient, chunk) = _columns(gradient, chunk)
    columns = chunk.shape[1]
    if statistics is None:
        mean, inverse = chunk.new_zeros(columns), chunk.new_ones(columns)
    else:
        mean, inverse = (each.expand(times, -1).reshape(columns) for each in statistics)
    _, *found = torch.ops.aten.native_batch_norm_backward(
        gradient, chunk, None, None, None, mean, inverse, True, 0.0, [False, True, True]
    )
    return Sums(*(each.view(times, -1).sum(0) if times > 1 else each for each in found))


def count(chunks: Sequence[Tensor]) -> int:
    """Return how many values a channel has."""
    return sum(chunk.numel() for chunk in chunks) // chunks[0].shape[1]


def statistics(chunks: Sequence[Tensor], norm: nn.BatchNorm2d) -> Statistics:
    """Return those of a batch in chunks, and note them in the running statistics of the module."""
    mean, variance = _moments(chunks)
    note_statistics(norm, mean, variance, count(chunks))
    return Statistics(mean, (variance + norm.eps).rsqrt())


def _moments(chunks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each channel of a batch in chunks."""
    each = [_chunk_moments(chunk) for chunk in chunks]
    if len(each) == 1:
        return each[0]
    whole = sum(map(len, chunks))
    means, variances = (torch.stack(parts) for parts in zip(*each, strict=True))
    return _joined(means, variances, means.new_tensor([len(chunk) / whole for chunk in chunks])[:, None])


def _chunk_moments(chunk: Tensor) -> tuple[Tensor, Tensor]:
    if chunk.device.type != "cpu":
        variance, mean = torch.var_mean(chunk, (0, 2, 3), correction=0)
        return mean, variance
    times, (wide,) = _columns(chunk)
    means, variances = torch.ops.aten.batch_norm_update_stats(wide, None, None, 0.0)
    return (means, variances) if times == 1 else _joined(means.view(times, -1), variances.view(times, -1), 1 / times)


def _joined(means: Tensor, variances: Tensor, shares: Tensor | float) -> tuple[Tensor, Tensor]:
    """Return mean and variance of the whole, from those of its parts (a row each) and their shares of it."""
    mean = (shares * means).sum(0)
    return mean, (shares * (variances + (means - mean).square())).sum(0)


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


class Back(NamedTuple):
    """Numbers by channel, for the gradient by the input."""

    gradient: Tensor
    """Times the gradient by the output."""
    line: Line
    """Of the input."""

    def of(self, gradient: Tensor, x: Tensor) -> Tensor:
        """Return it for ``(B, C, H, W)``."""
        return self.line.of(x).addcmul_(gradient, wide(self.gradient))


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


@dataclass(frozen=True)
class Normalisation:
    """A BatchNorm at a batch.

    Attributes:
        statistics: Of the batch.
        affine: Scale and shift.
        count: How many values a channel has.
    """

    statistics: Statistics
    affine: Affine
    count: int

    @cached_property
    def line(self) -> Line:
        """The output, as a line through the input."""
        mean, inverse = self.statistics
        factor = inverse if self.affine.scale is None else inverse * self.affine.scale
        shift = -mean * factor
        return Line(factor, shift if self.affine.shift is None else shift + self.affine.shift)

    def back(self, found: Sums) -> Back:
        """Return the gradient by the input.

        Args:
            found: The sums of the gradient by the output.
        """
        mean, inverse = self.statistics
        factor = self.line.factor
        along = -factor * inverse * found.scale / self.count
        return Back(factor, Line(along, -factor * found.shift / self.count - along * mean))

    def drift(self, tangents: Sequence[Tensor], chunks: Sequence[Tensor]) -> Drift:
        """Return how the batch moves; it and its tangents are given in chunks."""
        found = sums(tangents, chunks, self.statistics)
        return Drift(found.shift / self.count, found.scale / self.count)


@dataclass(frozen=True)
class Movement:
    """How a BatchNorm at a batch moves along a direction.

    Attributes:
        norm: The BatchNorm.
        drift: How the batch moves, if it does.
        by: How scale and shift move.
    """

    norm: Normalisation
    drift: Drift | None
    by: Affine

    @property
    def still(self) -> bool:
        """Whether nothing moves."""
        return self.drift is None and self.by.scale is None and self.by.shift is None

    @cached_property
    def line(self) -> Line:
        """How the output moves, but for ``factor`` times the movement of the input, as a line through the input."""
        shift = -self.norm.statistics.mean * self._factor
        if self.drift is not None:
            shift = shift - self.drift.mean * self.norm.line.factor
        return Line(self._factor, shift if self.by.shift is None else shift + self.by.shift)

    def of(self, x: Tensor, tangent: Tensor | None) -> Tensor | None:
        """Return how the output moves for ``(B, C, H, W)`` that moves along a tangent; None if it does not."""
        if self.still:
            return None
        total = self.line.of(x)
        return total if tangent is None else total.addcmul_(tangent, wide(self.norm.line.factor))

    @cached_property
    def _factor(self) -> Tensor:
        inverse, scale = self.norm.statistics.inverse, self.norm.affine.scale
        factor = torch.zeros_like(inverse) if self.by.scale is None else inverse * self.by.scale
        if self.drift is None:
            return factor
        less = inverse.square() * self.drift.product
        return factor - (less if scale is None else less * scale)

    def sums(self, found: Sums, products: Tensor | None, own: Sums | None) -> Sums:
        """Return how the sums of a gradient by the output move.

        Args:
            found: The sums.
            products: Of the gradient with the movement of the batch, if it moves; see ``products``.
            own: The sums of the gradient's own movement, if it moves.
        """
        scale, shift = own if own is not None else (torch.zeros_like(found.scale), torch.zeros_like(found.shift))
        if self.drift is not None and products is not None:
            mixed = products - self.drift.mean * found.shift - self.drift.product * found.scale
            scale = scale + self.norm.statistics.inverse * mixed
        return Sums(scale, shift)

    def back(self, found: Sums, moved: Sums) -> MovedBack:
        """Return how the gradient by the input moves.

        Args:
            found: The sums of the gradient by the output.
            moved: How they move.
        """
        (mean, inverse), n = self.norm.statistics, self.norm.count
        factor = self.norm.line.factor
        tangent = -factor * inverse * found.scale / n
        along = -(self._factor * found.scale + factor * moved.scale) / n
        constant = -(self._factor * found.shift + factor * moved.shift) / n
        if self.drift is not None:
            along = along - tangent * self.drift.product
            constant = constant - tangent * self.drift.mean
        along = along * inverse
        return MovedBack(self._factor, factor, tangent, Line(along, constant - along * mean))


def normalise(x: Tensor, affine: Affine, eps: float) -> tuple[Tensor, Statistics]:
    """Return BatchNorm of ``(B, C, H, W)`` with the statistics of the batch, and those; differentiable twice."""
    output, mean, inverse = cast("Any", _Normalise.apply(x, affine.scale, affine.shift, eps))
    return output, Statistics(mean, inverse)


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor | None, shift: Tensor | None, eps: float) -> Any:
        mean, variance = _moments([x])
        inverse = (variance + eps).rsqrt()
        norm = Normalisation(Statistics(mean, inverse), Affine(scale, shift), count([x]))
        ctx.save_for_backward(x, scale, shift, mean, inverse)
        ctx.mark_non_differentiable(mean, inverse)
        ctx.set_materialize_grads(False)
        return norm.line.of(x), mean, inverse

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return *_NormaliseGradient.apply(gradients[0], *ctx.saved_tensors), None


class _NormaliseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, scale: Tensor | None, shift: Tensor | None, *statistics: Tensor) -> Any:
        norm = Normalisation(Statistics(*statistics), Affine(scale, None), count([x]))
        found = sums([g], [x], norm.statistics)
        by_x = norm.back(found).of(g, x)
        ctx.save_for_backward(g, x, scale, *statistics, *found)
        ctx.set_materialize_grads(False)
        return by_x, None if scale is None else found.scale, None if shift is None else found.shift

    @staticmethod
    def backward(ctx: Any, *tangents: Any) -> Any:
        g, x, scale, mean, inverse, *sums = ctx.saved_tensors
        norm = Normalisation(Statistics(mean, inverse), Affine(scale, None), count([x]))
        with torch.no_grad():
            found = _second_derivative(g, x, norm, Sums(*sums), *tangents)
        return *last_derivatives(found, [*tangents, g, x, scale]), None, None, None


def _second_derivative(
    g: Tensor, x: Tensor, norm: Normalisation, found: Sums, tangent: Tensor | None, *by: Tensor | None
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """Return the derivatives by the gradient, the input and the scale, along tangents for the three gradients."""
    movement = Movement(norm, None if tangent is None else norm.drift([tangent], [x]), Affine(*by))
    moved = movement.sums(found, None if tangent is None else products([g], [tangent]), None)
    gradient = movement.back(found, moved).of(g, None, x, tangent)
    return movement.of(x, tangent), gradient, None if norm.affine.scale is None else moved.scale


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
