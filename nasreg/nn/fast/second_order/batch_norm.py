"""The double backward pass of BatchNorm in training mode.

Input, weight and bias have tangents; the functions here return the tangents of the output and of the input gradient,
again as sums of images times numbers per channel (names as in ``nasreg.nn.fast.batch_norm``). torch's own double
backward of BatchNorm on a CPU takes four times as many passes through memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nasreg.nn.fast.batch_norm import (
    Affine,
    AffineGrad,
    BatchNorm,
    ScaleShift,
    Statistics,
    affine_grad,
    channel_sums,
    count,
    normalize_backward,
    per_channel,
)
from nasreg.nn.fast.second_order.limit import refuse_third_derivative


class StatsTangent(NamedTuple):
    """Tangents of a batch's statistics per channel, up to factors: ``mean(dx)`` and ``mean(dx * n)``."""

    mean: Tensor
    product: Tensor


class InputGradTangent(NamedTuple):
    """The tangent of the input gradient as a function of output gradient, input and their tangents."""

    grad_scale: Tensor
    grad_tangent_scale: Tensor
    x_tangent_scale: Tensor
    x: ScaleShift

    def apply(self, grad: Tensor, grad_tangent: Tensor | None, x: Tensor, x_tangent: Tensor | None) -> Tensor:
        """Compute it for ``(B, C, H, W)``."""
        total = self.x.apply(x).addcmul_(grad, per_channel(self.grad_scale))
        if grad_tangent is not None:
            total.addcmul_(grad_tangent, per_channel(self.grad_tangent_scale))
        return total if x_tangent is None else total.addcmul_(x_tangent, per_channel(self.x_tangent_scale))


def stats_tangent(norm: BatchNorm, tangents: Sequence[Tensor], chunks: Sequence[Tensor]) -> StatsTangent:
    """Compute the tangents of a batch's statistics, given its tangent and the batch in chunks."""
    sums = affine_grad(tangents, chunks, norm.statistics)
    return StatsTangent(sums.bias / norm.count, sums.weight / norm.count)


def inner_products(grads: Sequence[Tensor], tangents: Sequence[Tensor]) -> Tensor:
    """Compute the inner products of two batches in chunks, per channel."""
    parts = [channel_sums(grad, tangent, None).weight for grad, tangent in zip(grads, tangents, strict=True)]
    return sum(parts[1:], parts[0])


@dataclass(frozen=True)
class BatchNormJVP:
    """Jacobian-vector products of a BatchNorm at a batch.

    Attributes:
        norm: The BatchNorm.
        stats: Tangents of the statistics; None if the batch has no tangent.
        affine: Tangents of weight and bias.
    """

    norm: BatchNorm
    stats: StatsTangent | None
    affine: Affine

    @property
    def is_zero(self) -> bool:
        """Whether the output has no tangent."""
        return self.stats is None and self.affine.weight is None and self.affine.bias is None

    @cached_property
    def output(self) -> ScaleShift:
        """The part of the output's tangent that is a function of the input; ``apply`` adds that of its tangent."""
        shift = -self.norm.statistics.mean * self._scale_tangent
        if self.stats is not None:
            shift = shift - self.stats.mean * self.norm.output.scale
        return ScaleShift(self._scale_tangent, shift if self.affine.bias is None else shift + self.affine.bias)

    def apply(self, x: Tensor, tangent: Tensor | None) -> Tensor | None:
        """Compute the tangent of the output for ``(B, C, H, W)`` and its tangent; None if it is zero."""
        if self.is_zero:
            return None
        total = self.output.apply(x)
        return total if tangent is None else total.addcmul_(tangent, per_channel(self.norm.output.scale))

    @cached_property
    def _scale_tangent(self) -> Tensor:
        invstd, weight = self.norm.statistics.invstd, self.norm.affine.weight
        tangent = torch.zeros_like(invstd) if self.affine.weight is None else invstd * self.affine.weight
        if self.stats is None:
            return tangent
        decrease = invstd.square() * self.stats.product
        return tangent - (decrease if weight is None else decrease * weight)

    def affine_grad(self, grads: AffineGrad, products: Tensor | None, own: AffineGrad | None) -> AffineGrad:
        """Return the tangents of the gradients of weight and bias.

        Args:
            grads: The gradients.
            products: Inner products of the output gradient and the batch's tangent (``inner_products``), if it has one.
            own: The same sums as ``grads``, of the tangent of the output gradient, if it has one.
        """
        weight, bias = own if own is not None else (torch.zeros_like(grads.weight), torch.zeros_like(grads.bias))
        if self.stats is not None and products is not None:
            mixed = products - self.stats.mean * grads.bias - self.stats.product * grads.weight
            weight = weight + self.norm.statistics.invstd * mixed
        return AffineGrad(weight, bias)

    def input_grad(self, grads: AffineGrad, tangents: AffineGrad) -> InputGradTangent:
        """Return the tangent of the input gradient, given the gradients of weight and bias and their tangents."""
        (mean, invstd), n = self.norm.statistics, self.norm.count
        scale = self.norm.output.scale
        x_tangent_scale = -scale * invstd * grads.weight / n
        x_scale = -(self._scale_tangent * grads.weight + scale * tangents.weight) / n
        shift = -(self._scale_tangent * grads.bias + scale * tangents.bias) / n
        if self.stats is not None:
            x_scale = x_scale - x_tangent_scale * self.stats.product
            shift = shift - x_tangent_scale * self.stats.mean
        x_scale = x_scale * invstd
        return InputGradTangent(
            self._scale_tangent, scale, x_tangent_scale, ScaleShift(x_scale, shift - x_scale * mean)
        )


def batch_norm_grads(
    grad: Tensor, x: Tensor, weight: Tensor | None, bias: Tensor | None, statistics: Statistics
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Compute the gradients of input, weight and bias so that they can be differentiated once more."""
    grads: Any = _BatchNormGrads.apply(grad, x, weight, bias, *statistics)
    by_x, by_weight, by_bias = grads
    return by_x, by_weight, by_bias


class _BatchNormGrads(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, grad: Tensor, x: Tensor, weight: Tensor | None, bias: Tensor | None, *statistics: Tensor
    ) -> Any:
        *grads, sums = normalize_backward(grad, x, Affine(weight, bias), Statistics(*statistics))
        ctx.save_for_backward(grad, x, weight, *statistics, *sums)
        ctx.set_materialize_grads(False)
        return tuple(grads)

    @staticmethod
    def backward(ctx: Any, *tangents: Any) -> Any:
        grad, x, weight, mean, invstd, *sums = ctx.saved_tensors
        norm = BatchNorm(Statistics(mean, invstd), Affine(weight, None), count([x]))
        with torch.no_grad():
            second = _second_derivatives(grad, x, norm, AffineGrad(*sums), *tangents)
        return *refuse_third_derivative(second, [*tangents, grad, x, weight]), None, None, None


def _second_derivatives(
    grad: Tensor, x: Tensor, norm: BatchNorm, sums: AffineGrad, tangent: Tensor | None, *affine: Tensor | None
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """Return the derivatives with respect to output gradient, input and weight, given the tangents of the gradients."""
    stats = None if tangent is None else stats_tangent(norm, [tangent], [x])
    jvp = BatchNormJVP(norm, stats, Affine(*affine))
    tangents = jvp.affine_grad(sums, None if tangent is None else inner_products([grad], [tangent]), None)
    by_x = jvp.input_grad(sums, tangents).apply(grad, None, x, tangent)
    return jvp.apply(x, tangent), by_x, None if norm.affine.weight is None else tangents.weight
