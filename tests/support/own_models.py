"""Small models of a user's own, and short searches over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

import nasreg
from nasreg.nn import LayerChoice
from nasreg.testing import toy_images

WIDTH = 8


class Base(nn.Module):
    """A stem, a choice of layers, and a classifier that reads the choice's input once more."""

    def __init__(self, candidates: Mapping[str, nn.Module] | None = None, outputs: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, WIDTH, 1)
        self.conv = LayerChoice(candidates or {"c1": conv(1), "c3": conv(3)}, key="conv")
        self.head = nn.Linear(WIDTH, outputs)

    def forward(self, x: Tensor) -> Any:
        """Classify."""
        return self.head(self.features(self.stem(x)).mean((2, 3)))

    def features(self, x: Tensor) -> Tensor:
        """Compute the choice."""
        return torch.relu(self.conv(x)) + x


class Net(Base):
    """The model as a space: a file can hold its option."""

    def __init__(self, outputs: int = 2) -> None:
        super().__init__(None, outputs)


def conv(size: int = 1, **options: Any) -> nn.Conv2d:
    """Return a convolution of the width of the model."""
    return nn.Conv2d(WIDTH, WIDTH, size, padding=size // 2, **options)


def search(space: nn.Module | Callable[..., nn.Module], algorithm: str = "darts", **options: Any) -> Any:
    """Search on the toy images for one epoch, or for two trials of one epoch."""
    given: dict[str, Any] = {"trainer": {"epochs": 1, "batch_size": 16}}
    if algorithm == "random":
        given = {"trainer": {"max_trials": 2}, "evaluator_options": {"epochs": 1, "batch_size": 16}}
    return nasreg.search(space, toy_images(32), algorithm, **{"device": "cpu", **given, **options})


def retrain(source: Any, **options: Any) -> Any:
    """Retrain on the toy images for one epoch."""
    data = (toy_images(32), toy_images(16, seed=1))
    return nasreg.retrain(source, data, **{"trainer": {"epochs": 1}, "device": "cpu", **options})
