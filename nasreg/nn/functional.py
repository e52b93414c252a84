"""Calls a model with other parameters and buffers than its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


def call_with(model: nn.Module, tensors: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> Any:
    """Call a model with some tensors instead of its own, which stay as they are.

    ``torch.func.functional_call`` does that too, but a module that stands in two places of the model is left with the
    others (https://github.com/pytorch/pytorch/issues/164759).

    Args:
        model: What is called.
        tensors: By the names that ``named_parameters`` and ``named_buffers`` give, which name what is shared once.
        args: Of the call.
        kwargs: Of the call.
    """
    first: dict[int, str] = {}
    replaced: dict[str, Tensor] = {}
    for path, module in model.named_modules():  # each module once
        own = {"recurse": False, "remove_duplicate": False}
        for name, tensor in (*module.named_parameters(path, **own), *module.named_buffers(path, **own)):
            known = first.setdefault(id(tensor), name)
            if known in tensors:
                replaced[name] = tensors[known]
    return functional_call(model, replaced, args, kwargs, tie_weights=False)
