"""Small models of a user in which one thing is wrong, or may be mistaken for wrong."""

from __future__ import annotations

import datetime as dt
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nasreg.nn import LayerChoice


class Net(nn.Module):
    """A choice between two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = LayerChoice(self.candidates(), key="conv")
        self.norm: nn.Module = nn.Identity()
        self.head: nn.Module = nn.Linear(4, 2)

    def candidates(self) -> dict[str, nn.Module]:
        """Return the candidates of the choice."""
        return {"c1": nn.Conv2d(1, 4, 1), "c3": nn.Conv2d(1, 4, 3, padding=1)}

    def features(self, x: Tensor) -> Tensor:
        """Compute what the mean is taken of."""
        out: Tensor = self.conv(x)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Classify."""
        return self.head(self.norm(torch.relu(self.features(x)).mean((2, 3))))


class Single(Net):
    """Has one candidate."""

    def candidates(self) -> dict[str, nn.Module]:
        """Return one."""
        return {"c1": nn.Conv2d(1, 4, 1)}


class Unused(Net):
    """Never calls its choice."""

    def features(self, x: Tensor) -> Tensor:
        """Compute without the choice."""
        return x.expand(-1, 4, -1, -1)


class Detached(Net):
    """Keeps the loss from what its choice computes."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute without gradients."""
        return super().forward(x).detach()


class Frozen(Net):
    """Has no parameter that can be trained."""

    def __init__(self) -> None:
        super().__init__()
        self.requires_grad_(False)


class _Raising(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError(f"no such thing for {len(x)} images")


class _NotANumber(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * float("nan")


class Raising(Net):
    """Has a candidate that raises."""

    def candidates(self) -> dict[str, nn.Module]:
        """Return it, too."""
        return {**super().candidates(), "bad": _Raising(1, 4, 1)}


class NotANumber(Net):
    """Has a candidate that computes no numbers."""

    def candidates(self) -> dict[str, nn.Module]:
        """Return it, too."""
        return {**super().candidates(), "bad": _NotANumber(1, 4, 1)}


class Normalised(Net):
    """Has a BatchNorm of one value for each sample and channel."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)


class BatchStatistics(Net):
    """Has a BatchNorm that normalises by the batch in evaluation, too."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4, track_running_stats=False)


class Nondeterministic(Net):
    """Uses an operation that has no deterministic form on any device."""

    def features(self, x: Tensor) -> Tensor:
        """Put a number into the features."""
        return super().features(x).clone().put_(torch.tensor([0]), torch.tensor([0.5]))


Pair = namedtuple("Pair", "a b")  # it is a type like a user's own

STATES: dict[str, Any] = {
    "datetime": dt.datetime(2020, 1, 1),
    "path": Path("weights"),
    "numpy": np.float64(0.5),
    "array": np.zeros(2),
    "namedtuple": Pair(1, 2),
    "set": {1, 2},
    "dtype": torch.float32,
    "plain": {"calls": 3, "scale": torch.ones(2), "names": ["a", None]},
}
"""What the extra state of a module may be."""


class Stateful(nn.Linear):
    """A layer with extra state."""

    state: Any = None

    def get_extra_state(self) -> Any:
        """Return the state."""
        return {"inner": [self.state]}

    def set_extra_state(self, state: Any) -> None:
        """Take the state."""
        self.state = state["inner"][0]


class Forgetful(nn.Linear):
    """A layer whose extra state cannot be set again."""

    def get_extra_state(self) -> int:
        """Return a state."""
        return 1


def with_head(head: nn.Linear) -> Net:
    """Return a model with another head."""
    model = Net()
    model.head = head
    return model


def with_state(name: str) -> Net:
    """Return a model whose head has one of ``STATES``."""
    head = Stateful(4, 2)
    head.state = STATES[name]
    return with_head(head)
