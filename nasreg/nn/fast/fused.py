"""The weighted sum of the candidates of one node as one autograd function with little memory traffic.

On a CPU, the operations of a supernet are limited by memory bandwidth, not by arithmetic. So the batch is split into
chunks that fit into the cache, and each chunk goes through as many operations as possible: convolutions in a row, the
sums that BatchNorm needs of their outputs, the addition to the outputs of other candidates. Only the inputs of
BatchNorms are saved for the backward pass; activations between them are computed again, chunk by chunk. The weight of
a candidate is folded into the scale of its last BatchNorm.

``passes`` has both passes, ``double_backward`` the way to the second derivative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasreg.nn.fast.autograd import needs_grad
from nasreg.nn.fast.blocks import BatchNormSlots, Candidate
from nasreg.nn.fast.double_backward import differentiable_grads, second_order
from nasreg.nn.fast.passes import Computation


class FusedSum:
    """Candidates to be summed, and the tensors they are made of.

    Attributes:
        inputs: The tensors, by slot.
        candidates: The candidates.
    """

    def __init__(self) -> None:
        self.inputs: list[Tensor] = []
        self.candidates: list[Candidate] = []
        self._slots: dict[int, int] = {}

    def slot(self, tensor: Tensor) -> int:
        """Return the slot of a tensor; it gets one if it has none."""
        if id(tensor) not in self._slots:
            self._slots[id(tensor)] = len(self.inputs)
            self.inputs.append(tensor)
        return self._slots[id(tensor)]

    def batch_norm(self, module: nn.BatchNorm2d) -> BatchNormSlots:
        """Return a BatchNorm with the slots of its parameters."""
        weight, bias = (None if p is None else self.slot(p) for p in (module.weight, module.bias))
        return BatchNormSlots(module, weight, bias)

    def compute(self, *, keep_activations: bool) -> Tensor:
        """Compute the sum.

        Args:
            keep_activations: Keep what a second derivative would compute again.
        """
        return cast("tuple[Tensor, Tensor]", _FusedSum.apply(self.candidates, keep_activations, *self.inputs))[0]


class _FusedSum(torch.autograd.Function):
    # The second output, ``link``, is an input of the function that computes the gradients with create_graph. It carries
    # no number: it makes autograd run this function's backward pass after all of those functions' (``second_order``).

    @staticmethod
    def forward(
        ctx: Any, candidates: list[Candidate], keep_activations: bool, *inputs: Tensor
    ) -> tuple[Tensor, Tensor]:
        computation = Computation(candidates, inputs, keep_activations=keep_activations)
        # Skips the search for overrides in each of many calls: ``fast_double_backward`` has nothing to replace in here.
        with torch._C.DisableTorchFunction():
            total = computation.forward()
        link = torch.zeros(())
        ctx.candidates = candidates
        ctx.keep_activations = keep_activations
        ctx.count = len(inputs)
        ctx.pending = {}
        ctx.save_for_backward(link, *inputs, *computation.tensors_to_save())
        ctx.set_materialize_grads(False)
        return total, link

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, link_grad: Tensor | None) -> Any:
        if link_grad is not None:
            return None, None, *_second_derivatives(ctx, grad)
        if grad is None:
            return None, None, *[None] * ctx.count
        link, *saved = ctx.saved_tensors  # once only: activation checkpointing recomputes them each time
        inputs = saved[: ctx.count]
        needs = needs_grad(ctx, inputs, 2)
        computation = Computation(ctx.candidates, inputs, keep_activations=ctx.keep_activations)
        if torch.is_grad_enabled():
            return None, None, *_recorded_grads(ctx, computation, grad, saved, link, needs)
        computation.restore(saved[ctx.count :])
        return None, None, *computation.backward(grad, needs)


def _recorded_grads(
    ctx: Any, computation: Computation, grad: Tensor, saved: Sequence[Tensor], link: Tensor, needs: Sequence[bool]
) -> Sequence[Tensor | None]:
    """Compute the gradients of the inputs of a fused sum; they can be differentiated.

    Args:
        ctx: Context of the fused sum.
        computation: The sum.
        grad: Gradient of the output.
        saved: The inputs of the sum, and what its forward pass saved beside them.
        link: Second output of the fused sum.
        needs: Which inputs need a gradient.
    """
    if (folder := second_order()) is not None:
        return folder.fused_sum_grads(ctx, computation, grad, saved, link, needs)
    candidates = computation.candidates
    return differentiable_grads(lambda *inputs: _plain_sum(candidates, inputs), computation.inputs, grad, needs)


def _second_derivatives(ctx: Any, grad: Tensor | None) -> Sequence[Tensor | None]:
    """Compute the second derivatives with respect to the inputs of a fused sum; called with the folder only.

    Args:
        ctx: Context of the fused sum.
        grad: Gradient of the output in this backward pass.
    """
    folder = second_order()
    if folder is None:
        raise RuntimeError("a fused sum has second derivatives with the folder second_order only")
    return folder.fused_sum_second_derivatives(ctx, grad)


def _plain_sum(candidates: Sequence[Candidate], inputs: Sequence[Tensor]) -> Tensor:
    """Compute a fused sum in torch's own operations, without updating running statistics."""
    total: Tensor | None = None
    for candidate in candidates:
        x = inputs[candidate.source]
        for number, block in enumerate([*candidate.blocks, None]):
            norm = candidate.norm_before(number)
            if norm is not None:
                weight, bias = (None if slot is None else inputs[slot] for slot in (norm.weight, norm.bias))
                x = F.batch_norm(x, None, None, weight, bias, True, 0.0, norm.module.eps)
            if block is not None:
                x = x.relu() if block.relu else x
                for slot, (stride, padding, dilation, groups) in zip(block.weights, block.geometries, strict=True):
                    x = F.conv2d(x, inputs[slot], None, stride, padding, dilation, groups)
        part = inputs[candidate.weight].to(x.dtype) * x
        total = part if total is None else total + part
    assert total is not None  # noqa: S101  # a fused sum has at least one candidate
    return total
