"""Copies of modules, also of those that hold tensors which torch refuses to copy."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def copy_module(module: M) -> M:
    """Return a deep copy of a module.

    A tensor of a computation, such as the features of the last batch that a module keeps or the weight that the older
    ``torch.nn.utils.weight_norm`` computes, is copied without its history: torch copies no tensor that has one.

    Raises:
        Exception: Something in the module cannot be copied.
    """
    memo: dict[int, Any] = {}
    seen: set[int] = set()
    with torch.no_grad():
        for part in module.modules():
            for tensor in _tensors(part.__dict__, seen):
                if not tensor.is_leaf:
                    memo[id(tensor)] = tensor.detach().clone()
    return copy.deepcopy(module, memo)


def _tensors(value: Any, seen: set[int]) -> Iterator[Tensor]:
    """Yield the tensors in containers, but not those in modules."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple | set) and id(value) not in seen:
        seen.add(id(value))
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(each, seen)
