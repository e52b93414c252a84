"""How choices compute the weighted sums of their candidates: plainly, or by the fast supernet (``nasreg.nn.fast``).

This module is the door to that folder. Without it every choice computes plainly, and the functions below that only
make the fast supernet faster do nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd import forward_ad

from nasreg.nn.mixture import Mixture, SharedInput
from nasreg.nn.partial import PartialChannels

if TYPE_CHECKING:
    from nasreg.nn.fast import PartialSum

AVAILABLE = find_spec("nasreg.nn.fast") is not None
"""Whether the folder of the fast supernet is there."""


@dataclass(frozen=True)
class Execution:
    """How choices compute the weighted sum of their candidates; the results are the same."""

    optimized: bool = True
    """Use the fast supernet instead of computing one candidate after the other."""
    min_fused_numel: int = 2**17
    """Number of elements from which an image tensor's candidates are computed as one function, which saves memory. For
    smaller tensors that takes more time, except where the second derivative is computed: within
    ``fast_double_backward`` all are."""
    checkpoint: bool = False
    """Keep only the inputs of a choice, and compute it again in the backward pass; see ``set_execution``."""


PLAIN = Execution(optimized=False)
"""One candidate after the other."""


def new_mixture(execution: Execution, choice: str) -> Mixture:
    """Return an empty weighted sum.

    Args:
        execution: How to compute it.
        choice: Name of the choice, for error messages.
    """
    if not is_optimized(execution):
        return Mixture(choice)
    from nasreg.nn.fast import FastMixture

    return FastMixture(choice, execution.min_fused_numel)


def shared_input(execution: Execution, x: Tensor) -> SharedInput:
    """Return an input that several candidates of weighted sums read."""
    if not is_optimized(execution):
        return SharedInput(x)
    from nasreg.nn.fast import FastSharedInput

    return FastSharedInput(x)


def new_partial_sum(execution: Execution, choice: str, transform: PartialChannels, x: Tensor) -> PartialSum | None:
    """Return an empty sum of edges with partial channels; None if each is to be computed by itself.

    Args:
        execution: How to compute it.
        choice: Name of the choice, for error messages.
        transform: The partial channels.
        x: The state that the first of the edges starts from.
    """
    if not is_optimized(execution) or x.dim() != 4 or torch.is_autocast_enabled(x.device.type):
        return None
    from nasreg.nn.fast import PartialSum

    return PartialSum(choice, transform, execution.min_fused_numel)


def is_optimized(execution: Execution) -> bool:
    """Return whether to use the fast supernet, which torch.compile and the transforms of torch.func cannot read."""
    # There are no public functions that tell whether a torch.func transform or forward-mode differentiation is active.
    transformed = torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
    return AVAILABLE and execution.optimized and not transformed and not torch.compiler.is_compiling()


def add_zero(execution: Execution, x: Tensor, zero: Tensor) -> Tensor:
    """Return ``x + zero``, for a scalar that is zero and has a gradient; see ``nasreg.nn.answers.HardWeights``."""
    if not is_optimized(execution):
        return x + zero
    from nasreg.nn.fast import add_zero as add

    return add(x, zero)


def to_fast_layout(execution: Execution, x: Tensor) -> Tensor:
    """Return a tensor in the memory format in which candidates are fastest: on a CPU, channels-last."""
    if x.dim() != 4 or x.device.type != "cpu" or not is_optimized(execution):
        return x
    return x.contiguous(memory_format=torch.channels_last)


def match_layout(execution: Execution, x: Tensor, like: Tensor) -> Tensor:
    """Return a tensor in the memory format of another, so that the model's own ``view`` works on it."""
    return x.contiguous() if like.is_contiguous() and is_optimized(execution) else x


def fast_double_backward(*, keep_activations: bool = False) -> AbstractContextManager[object]:
    """Make the second derivative of the forward passes inside this context cheap.

    It replaces convolutions, BatchNorm, ReLU and concatenations, inside and outside of choices, by functions whose
    gradient costs less to differentiate. The results are the same. It has an effect on a CPU, on images in
    channels-last memory.

    Args:
        keep_activations: Keep activations of choices that the second derivative would compute again: faster, and more
            memory.
    """
    if not AVAILABLE:
        return nullcontext()
    from nasreg.nn import fast

    return fast.fast_double_backward(keep_activations=keep_activations)


def same_double_backward() -> Callable[[], AbstractContextManager[object]]:
    """Return a function that enters the present ``fast_double_backward`` again, for activation checkpointing."""
    if AVAILABLE:
        from nasreg.nn import fast

        if (settings := fast.requested()) is not None:
            return lambda: fast.fast_double_backward(keep_activations=settings.keep_activations)
    return nullcontext


def skip_grad_for(parameters: Iterable[Tensor]) -> AbstractContextManager[None]:
    """Skip the gradients of some parameters in the backward passes inside this context.

    ``torch.autograd.grad(loss, inputs)`` does not tell the functions of the fast supernet what ``inputs`` are: they
    compute the gradients of all parameters that require one, and torch throws away the others.

    Args:
        parameters: Parameters that get no gradient from optimised choices.
    """
    if not AVAILABLE:
        return nullcontext()
    from nasreg.nn import fast

    return fast.skip_grad_for(parameters)
