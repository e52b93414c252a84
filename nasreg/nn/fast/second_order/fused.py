"""The double backward pass of a fused sum as one computation.

The second derivative of a sum takes part in a backward pass twice: first as the derivative of the gradients, which have
tangents then, and later as the derivative of the sum itself, whose output gradient is the tangent of the first output
gradient. Both go back through the same blocks. So the first part is left pending, and both are computed together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from nasreg.nn.fast.autograd import needs_grad
from nasreg.nn.fast.batch_norm import AffineGrad
from nasreg.nn.fast.blocks import BackwardCache
from nasreg.nn.fast.passes import Computation
from nasreg.nn.fast.second_order.limit import refuse_third_derivative
from nasreg.nn.fast.second_order.tangents import DoubleBackwardPass


def fused_sum_grads(
    ctx: Any, computation: Computation, grad: Tensor, saved: Sequence[Tensor], link: Tensor, needs: Sequence[bool]
) -> Sequence[Tensor | None]:
    """Compute the gradients of a fused sum; arguments as in ``nasreg.nn.fast.fused``."""
    return cast("Sequence[Tensor | None]", _FusedSumGrads.apply(ctx.pending, computation, needs, grad, link, *saved))


def fused_sum_second_derivatives(ctx: Any, grad: Tensor | None) -> Sequence[Tensor | None]:
    """Complete the double backward passes that are pending in this backward pass, together with the sum's own."""
    pending: list[DoubleBackwardPass] = ctx.pending.pop(_backward_pass_id(), [])
    if not pending:
        raise RuntimeError("the second derivative of a sum of candidates was interrupted: compute the loss again")
    total: list[Tensor | None] = [None] * ctx.count
    sources = [grad, *(source for each in pending for source in each.sources)]
    with torch.no_grad():
        for each in pending:
            needs = needs_grad(ctx, each.inputs, 2)
            derivatives = each.backward(grad, needs)
            total = [b if a is None else a if b is None else a + b for a, b in zip(total, derivatives, strict=True)]
            grad = None  # the first has included it
    return refuse_third_derivative(total, sources)


def _backward_pass_id() -> int:
    # A pass may end before the fused sum is reached, if it needs none of its inputs' derivatives. What it left pending
    # must not be taken for part of a later pass. torch tells passes apart only by this private number (its own
    # activation checkpointing uses it, too).
    return torch._C._current_graph_task_id()


class _FusedSumGrads(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        pending: dict[int, list[DoubleBackwardPass]],
        computation: Computation,
        needs: Sequence[bool],
        grad: Tensor,
        link: Tensor,
        *saved: Tensor,
    ) -> tuple[Tensor | None, ...]:
        del link
        inputs = len(computation.inputs)
        computation = Computation(computation.candidates, saved[:inputs], keep_activations=computation.keep_activations)
        computation.restore(saved[inputs:])
        grads = computation.backward(grad, needs)
        ctx.pending = pending
        ctx.candidates = computation.candidates
        ctx.keep_activations = computation.keep_activations
        ctx.counts = inputs, len(saved)
        ctx.sizes, cached = _cached_tensors(computation)
        ctx.save_for_backward(grad, *saved, *cached)
        ctx.set_materialize_grads(False)
        return tuple(grads)

    @staticmethod
    def backward(ctx: Any, *tangents: Tensor | None) -> Any:
        grad, *tensors = ctx.saved_tensors
        inputs, saved = ctx.counts
        with torch.no_grad():
            computation = Computation(ctx.candidates, tensors[:inputs], keep_activations=ctx.keep_activations)
            computation.restore(tensors[inputs:saved])
            _restore_cache(computation, ctx.sizes, tensors[saved:])
            double = DoubleBackwardPass(computation, grad, tangents)
            output_tangent = double.forward()
        [output_tangent] = refuse_third_derivative([output_tangent], double.sources)
        current = _backward_pass_id()
        for abandoned in [number for number in ctx.pending if number != current]:
            del ctx.pending[abandoned]
        ctx.pending.setdefault(current, []).append(double)
        # The gradient of ``link``: it makes autograd call the fused sum's backward pass in this pass, after this one.
        return *[None] * 3, output_tangent, torch.zeros(()), *[None] * saved


def _cached_tensors(computation: Computation) -> tuple[dict[tuple[int, int], tuple[int, int]], list[Tensor]]:
    """Return the cache of a backward pass as the numbers of kept chunks and a list of tensors."""
    sizes = {key: (len(each.output_grad), len(each.input_grad)) for key, each in computation.cache.items()}
    return sizes, [tensor for each in computation.cache.values() for part in each for tensor in part]


def _restore_cache(
    computation: Computation, sizes: dict[tuple[int, int], tuple[int, int]], tensors: Sequence[Tensor]
) -> None:
    left = iter(tensors)
    for key, (output_grad, input_grad) in sizes.items():
        affine_grad = AffineGrad(next(left), next(left))
        kept = [[next(left) for _ in range(size)] for size in (output_grad, input_grad)]
        computation.cache[key] = BackwardCache(affine_grad, *kept)
