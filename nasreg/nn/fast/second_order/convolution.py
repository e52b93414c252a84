"""The double backward pass of convolutions.

A convolution and its two gradients are each linear in two tensors, and the derivatives of each are the other two.
torch's own double backward computes depthwise convolutions group by group, and here each channel is a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nasreg.nn.fast.autograd import needs_grad
from nasreg.nn.fast.convolution import Geometry, convolve, input_gradient, weight_gradient


def convolution_grads(
    grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, needs: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Compute the gradients of input and kernel, where needed, so that they can be differentiated further."""
    by_x: Any = _InputGradient.apply(grad, x.detach(), weight, geometry) if needs[0] else None
    by_weight: Any = _WeightGradient.apply(grad, x, weight.detach(), geometry) if needs[1] else None
    return by_x, by_weight


class _InputGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(grad, weight)
        ctx.geometry = geometry
        return input_gradient(grad, x, weight, geometry)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        grad, weight = ctx.saved_tensors
        by_grad, by_weight = ctx.needs_input_grad[0], needs_grad(ctx, [weight], 2)[0]
        return (
            convolve(grads[0], weight, ctx.geometry) if by_grad else None,
            None,
            _WeightGradient.apply(grad, grads[0], weight.detach(), ctx.geometry) if by_weight else None,
            None,
        )


class _WeightGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(grad, x)
        ctx.geometry = geometry
        return weight_gradient(grad, x, weight, geometry)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        grad, x = ctx.saved_tensors
        by_grad, by_x = needs_grad(ctx, (grad, x))
        return (
            convolve(x, grads[0], ctx.geometry) if by_grad else None,
            _InputGradient.apply(grad, x.detach(), grads[0], ctx.geometry) if by_x else None,
            None,
            None,
        )
