"""Activation checkpointing of a choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from nasreg.nn.execution import same_double_backward
from nasreg.nn.functional import functional_call_tied


def checkpointed(module: nn.Module, compute: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Compute a function of a module so that only its arguments are kept for the backward pass.

    Args:
        module: The module whose parameters and buffers are used.
        compute: The function.
        args: Its arguments.
        kwargs: Its keyword arguments.
    """
    # In the backward pass the module may have other parameters (``functional_call_tied`` has ended by then), and its
    # buffers, such as running statistics, must not be updated again.
    wrapper = _Wrapper(module, compute)
    parameters, buffers = dict(wrapper.named_parameters()), dict(wrapper.named_buffers())
    double_backward = same_double_backward()
    calls = 0

    def run(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            return compute(*args, **kwargs)
        copies = {name: buffer.clone() for name, buffer in buffers.items()}
        with double_backward():
            return functional_call_tied(wrapper, {**parameters, **copies}, *args, **kwargs)

    # A model may append to a list after it has passed it to a choice.
    args = tuple(_copy(value) for value in args)
    kwargs = {name: _copy(value) for name, value in kwargs.items()}
    return checkpoint(run, *args, use_reentrant=False, **kwargs)


def _copy(value: Any) -> Any:
    if isinstance(value, list):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


class _Wrapper(nn.Module):
    """A module whose forward pass is another function of it."""

    def __init__(self, module: nn.Module, compute: Callable[..., Any]) -> None:
        super().__init__()
        self.module = module
        self._compute = compute

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._compute(*args, **kwargs)
