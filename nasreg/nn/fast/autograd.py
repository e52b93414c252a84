"""Which gradients an autograd function has to compute, and a sum that costs nothing but its gradient."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

_skipped: ContextVar[frozenset[int]] = ContextVar("skipped", default=frozenset())


@contextmanager
def skip_grad_for(parameters: Iterable[Tensor]) -> Iterator[None]:
    """Skip the gradients of some parameters in the backward passes inside this context.

    ``torch.autograd.grad(loss, inputs)`` does not tell custom autograd functions what ``inputs`` are: they would
    compute the gradient of every tensor that requires one, and torch would throw it away.

    Args:
        parameters: Leaf tensors that get no gradient from optimised choices.
    """
    token = _skipped.set(frozenset(parameter.data_ptr() for parameter in parameters))
    try:
        yield
    finally:
        _skipped.reset(token)


def needs_grad(ctx: Any, tensors: Sequence[Tensor], first: int = 0) -> list[bool]:
    """Return which inputs of an autograd function need a gradient.

    Args:
        ctx: Context of the function.
        tensors: Consecutive inputs of the function.
        first: Position of the first of them among all inputs.
    """
    needs = ctx.needs_input_grad[first : first + len(tensors)]
    skipped = _skipped.get()
    if not skipped:
        return list(needs)
    # By address, since activation checkpointing recomputes with new tensor objects on the same memory.
    skip = [tensor.is_leaf and tensor.data_ptr() in skipped for tensor in tensors]
    return [need and not skip_one for need, skip_one in zip(needs, skip, strict=True)]


def add_zero(x: Tensor, zero: Tensor) -> Tensor:
    """Return ``x + zero`` for a scalar that is zero; only its gradient takes time."""
    result: Tensor = _AddZero.apply(x, zero)
    return result


class _AddZero(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, zero: Tensor) -> Tensor:
        ctx.dtype = zero.dtype
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None]:
        return grad, grad.sum(dtype=ctx.dtype) if ctx.needs_input_grad[1] else None
