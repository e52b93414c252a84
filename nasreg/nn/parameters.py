"""Counting parameters."""

from __future__ import annotations

from torch import nn

AUXILIARY_HEAD = "auxiliary_head."
"""Beginning of the names of the parameters of an auxiliary head, which only training needs."""


def parameter_count(module: nn.Module) -> int:
    """Return the number of parameters of a module, shared ones counted once."""
    return sum(parameter.numel() for parameter in module.parameters())


def auxiliary_parameter_count(module: nn.Module) -> int:
    """Return the number of parameters of the auxiliary head of a module; 0 without one."""
    return sum(each.numel() for name, each in module.named_parameters() if name.startswith(AUXILIARY_HEAD))
