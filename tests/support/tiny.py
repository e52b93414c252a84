"""The smallest real things to search: models with choices, and options that make a search of them short."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nasreg.nn import InputChoice, LayerChoice
from nasreg.specs import DataInfo

TRAINER: dict[str, Any] = {"epochs": 3, "batch_size": 16, "lr": 0.2}
DARTS_SPACE: dict[str, Any] = {
    "cells": 2,
    "channels": 2,
    "nodes": 2,
    "candidates": ["none", "skip_connect", "max_pool_3x3"],
}


class Net(nn.Module):
    """A user's own model, always with the same weights."""

    def __init__(self, reduction: str = "sum", classes: int = 2) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv = LayerChoice(
                {"conv1": nn.Conv2d(1, 4, 1), "conv3": nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Dropout(0.1))},
                key="conv",
            )
            self.skip = InputChoice(2, reduction=reduction, key="skip")
            self.head = nn.Linear(4 if reduction == "sum" else 8, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Classify."""
        a = self.conv(x)
        joined = self.skip([a, torch.relu(a)])
        return self.head(joined.flatten(2).amax(2))


class Own(nn.Module):
    """A space of a user's own, by ``tiny:Own``."""

    def __init__(self, info: DataInfo, width: int = 4) -> None:
        super().__init__()
        self.conv = LayerChoice([nn.Conv2d(info.channels, width, size, padding=size // 2) for size in (1, 3)])
        self.head = nn.Linear(width, info.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Classify."""
        return self.head(torch.relu(self.conv(x)).flatten(2).amax(2))
