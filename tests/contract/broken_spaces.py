"""Spaces that keep the contract, and others that break it in one place each; ``test_kit.py`` runs them."""

from __future__ import annotations

import random

import pytest
import torch
from pydantic import Field
from torch import nn

import nasreg
from nasreg.nn import LayerChoice
from nasreg.specs import Config, DataInfo, SpaceEntry
from nasreg.testing import SpaceContract


class Net(nn.Module):
    def __init__(self, info: DataInfo, width: int = 4) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(info.channels, width, 3, padding=1), nn.BatchNorm2d(width))
        self.layer = LayerChoice(self.candidates(width), key="layer")
        self.head = nn.Linear(width, self.classes(info))

    def candidates(self, width):
        return {f"conv{size}": nn.Conv2d(width, width, size, padding=size // 2) for size in (1, 3)}

    def classes(self, info):
        return info.n_classes

    def forward(self, x):
        return self.head(torch.relu(self.features(self.stem(x))).mean((2, 3)))

    def features(self, x):
        return self.layer(x)


class Differing(Net):
    def features(self, x):
        scale = 2 if isinstance(self.layer, LayerChoice) else 1
        return self.layer(x) * scale


class Training(Net):
    """Adds noise to the training of the supernet alone."""

    def features(self, x):
        noisy = self.training and isinstance(self.layer, LayerChoice)
        return self.layer(x + 0.1 if noisy else x)


class Asking(Net):
    def features(self, x):
        return self.layer(x) / len(self.layer.candidates)


class Changing(Net):
    def candidates(self, width):
        return {f"conv{random.randrange(10**6)}": nn.Conv2d(width, width, 1), "none": nn.Identity()}


class TwoClasses(Net):
    def classes(self, info):
        return 2


class Unsaved(Net):
    def __init__(self, info: DataInfo, width: int = 4) -> None:
        super().__init__(info, width)
        self.scale = torch.rand(width, 1, 1)  # no buffer, so that no state has it

    def features(self, x):
        return self.layer(x) * self.scale


class NetConfig(Config):
    width: int = Field(default=4, description="channels")


class Undescribed(Config):
    width: int = 4


def build(info, config):
    return Net(info, config.width)


def retrained(info, config):
    net = Net(info, 4)
    if config.width > 4:
        net.extra = LayerChoice([nn.Identity(), nn.Identity()], key="extra")
    return net


SPACES = {
    "net": Net,
    "differing": Differing,
    "training": Training,
    "asking": Asking,
    "changing": Changing,
    "two_classes": TwoClasses,
    "unsaved": Unsaved,
}
ENTRIES = {
    "entry": {"capabilities": {"width": "width"}, "retrain": {"width": 8}},
    "incapable": {"capabilities": {"depth": "blocks"}},
    "unretrained": {"factory": retrained, "retrain": {"width": 8}},
    "misnamed": {"retrain": {"breadth": 8}},
    "bare": {"config": Undescribed},
}


def spec(name, factory=build, config=NetConfig, **more):
    return SpaceEntry(name=name, summary="for a test of the kit", factory=factory, config=config, **more)


nasreg.register(*(spec(name, **parts) for name, parts in ENTRIES.items()))


@pytest.mark.parametrize("name", [*SPACES, *ENTRIES])
class TestContract(SpaceContract):
    @pytest.fixture
    def space(self, name):
        return SPACES.get(name, name)
