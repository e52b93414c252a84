"""The end of differentiation: third derivatives are refused rather than wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor


def refuse_third_derivative(values: Sequence[Tensor | None], sources: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Return second derivatives that raise an error if they are differentiated.

    torch's ``once_differentiable`` would detach them, and ``torch.autograd.grad`` would take them for constants.

    Args:
        values: Second derivatives, computed without autograd.
        sources: All tensors that they depend on.
    """
    if not torch.is_grad_enabled():
        return list(values)
    return [None if value is None else cast("Tensor", _Refuse.apply(value, *sources)) for value in values]


class _Refuse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, *sources: Tensor | None) -> Tensor:
        del ctx, sources
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(
            "an optimised supernet can be differentiated twice, not three times: compute it plainly, with"
            " trainer.execution=plain or nasreg.nn.set_execution(model, Execution(optimized=False))"
        )
