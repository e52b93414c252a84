"""Calls a model with other parameters and buffers than its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


def functional_call_tied(model: nn.Module, tensors: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> Any:
    """Call a model with some tensors in place of its own, and leave its own unchanged.

    ``torch.func.functional_call`` does not restore a module that occurs twice in the model
    (https://github.com/pytorch/pytorch/issues/164759).

    Args:
        model: The model.
        tensors: Tensors by the names of ``named_parameters`` and ``named_buffers``, where a tied tensor has one name.
        args: Arguments of the call.
        kwargs: Keyword arguments of the call.
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
