"""Shows each operation of a forward pass, whether a module or a function computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

See = Callable[[Any, tuple[Any, ...], Mapping[str, Any]], None]
"""Gets an operation of ``torch.ops.aten``, its arguments and its keyword arguments, before it is computed."""


def watch(network: nn.Module, images: Tensor, see: See) -> None:
    """Compute the outputs of a network, without gradients, and show each operation."""
    with torch.no_grad(), _Calls(see):
        network(images)


class _Calls(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    def __init__(self, see: See) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._see = see

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        self._see(func, args, kwargs or {})
        return func(*args, **(kwargs or {}))
