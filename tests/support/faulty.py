"""Models and data with faults, for ``nasreg check``: each is wrong in its own way, and some in several."""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nasreg.nn import Cell, LayerChoice


class FiveFaults(nn.Module):
    """Two candidates that fail, one that works in place, one of another shape, and too few outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = LayerChoice(
            {
                "right": nn.Conv2d(1, 4, 1),
                "in-place": nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(1, 4, 3, padding=1)),
                "pooled": nn.Sequential(nn.Conv2d(1, 4, 1), nn.AdaptiveAvgPool2d(1)),
                "channels": nn.Conv2d(3, 4, 1),
                "features": nn.Linear(5, 4),
            },
            key="conv",
        )
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Classify."""
        return self.head(self.conv(x).relu().mean((2, 3)))


class Failing(FiveFaults):
    """Two candidates that fail, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        kept = {name: self.conv.candidates[name] for name in ("right", "channels", "features")}
        self.conv = LayerChoice(kept, key="conv")


class Right(nn.Module):
    """Nothing is wrong with it."""

    def __init__(self, classes: int = 2, state: object = None) -> None:
        super().__init__()
        self.conv = LayerChoice([nn.Conv2d(1, 4, size, padding=size // 2) for size in (1, 3, 5)], key="conv")
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, classes)
        self.state = state

    def forward(self, x: Tensor) -> Tensor:
        """Classify."""
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3)))


class Asking(Right):
    """Computes something else when it is frozen."""

    def forward(self, x: Tensor) -> Tensor:
        """Classify."""
        output: Tensor = super().forward(x)
        return 2 * output if isinstance(self.conv, LayerChoice) else output


class Unsaved(Right):
    """Keeps what the safe loader does not read."""

    def get_extra_state(self) -> Any:
        """Return a moment."""
        return {"made": dt.datetime(2020, 1, 1)}

    def set_extra_state(self, state: Any) -> None:
        """Take it."""


def _edge(make: Any, source: int, node: int) -> nn.Module:
    del source, node
    module: nn.Module = make()
    return module


class FaultyCell(nn.Module):
    """A cell with two candidates that fail."""

    def __init__(self) -> None:
        super().__init__()
        makers = {
            "channels": partial(nn.Conv2d, 3, 4, 1),
            "right": partial(nn.Conv2d, 4, 4, 1),
            "features": partial(nn.Linear, 5, 4),
        }
        self.stem = nn.Conv2d(1, 4, 1)
        self.cell = Cell({name: partial(_edge, make) for name, make in makers.items()}, nodes=1, inputs=1, key="cell")
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Classify."""
        return self.head(self.cell(self.stem(x)).mean((2, 3)))


class FaultyImages(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Images of 0 to 255 in floating point, two of which cannot be read; label 1 is missing, class 2 is rare."""

    def __init__(self, samples: int = 60) -> None:
        self.images = torch.rand(samples, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 255
        self.broken = (7, 40)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index in self.broken:
            raise OSError("image file is truncated")
        return self.images[index], 2 if index % 10 == 0 else 0
