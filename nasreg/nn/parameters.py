"""Counting parameters."""

from __future__ import annotations

from torch import nn


def parameter_count(module: nn.Module) -> int:
    """Return the number of parameters of a module, shared ones counted once."""
    return sum(parameter.numel() for parameter in module.parameters())
