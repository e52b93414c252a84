"""The door to ``second_order``: gradients that can be differentiated once more (``create_graph=True``).

Where the backward pass of an autograd function of this package is recorded, ``second_order()`` computes the gradients,
in a way that makes the second derivative cheap. Without the folder, ``differentiable_grads`` computes them in torch's
own operations, which torch differentiates: the numbers are the same.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor


class DoubleBackward(NamedTuple):
    """The settings of ``fast_double_backward``."""

    keep_activations: bool


class SecondOrder(Protocol):
    """What the folder ``second_order`` provides."""

    FastDoubleBackward: Callable[[DoubleBackward], AbstractContextManager[object]]
    requested: Callable[[], DoubleBackward | None]
    convolution_grads: Callable[..., tuple[Tensor | None, Tensor | None]]
    batch_norm_grads: Callable[..., tuple[Tensor | None, Tensor | None, Tensor | None]]
    fused_sum_grads: Callable[..., Sequence[Tensor | None]]
    fused_sum_second_derivatives: Callable[..., Sequence[Tensor | None]]


@functools.cache
def second_order() -> SecondOrder | None:
    """Return the folder, or None if it was left out. It is imported by name, since it is built on this package."""
    name = "nasreg.nn.fast.second_order"
    return cast("SecondOrder", importlib.import_module(name)) if find_spec(name) is not None else None


def fast_double_backward(*, keep_activations: bool = False) -> AbstractContextManager[object]:
    """Make the second derivative of the forward passes inside this context cheap; see ``nasreg.nn``."""
    folder = second_order()
    if folder is None:
        return nullcontext()
    return folder.FastDoubleBackward(DoubleBackward(keep_activations))


def requested() -> DoubleBackward | None:
    """Return the settings of the innermost ``fast_double_backward``, or None outside of any."""
    folder = second_order()
    return None if folder is None else folder.requested()


def differentiable_grads(
    compute: Callable[..., Tensor], inputs: Sequence[Tensor | None], grad: Tensor, needs: Sequence[bool]
) -> list[Tensor | None]:
    """Compute the gradients of a function by torch, so that they can be differentiated.

    Args:
        compute: Computes the output from the inputs.
        inputs: The inputs; None where there is none.
        grad: Gradient of the output.
        needs: Which inputs need a gradient.
    """
    # Aliases, since one input may be computed from another: only the direct dependence counts.
    aliases = [None if x is None else x.view_as(x) for x in inputs]
    wanted = [alias for alias, need in zip(aliases, needs, strict=True) if need and alias is not None]
    if not wanted:
        return [None] * len(inputs)
    output = compute(*aliases)
    grads = iter(torch.autograd.grad(output, wanted, grad, create_graph=True, allow_unused=True))
    return [next(grads) if need and alias is not None else None for alias, need in zip(aliases, needs, strict=True)]
