"""The search space of whole networks, ``enas-macro`` (Pham et al., arXiv 1802.03268, section 2.3).

It is that of the authors' program (``general_child.py``).

State 0 is the stem, state i the output of layer i. Layer i computes one of some operations on state i - 1 (key ``op1``,
``op2``, ...) and joins it with any number of the states before that one (key ``skip2``, ...). After one and two thirds
of the layers all states so far are halved.

In the supernet the joined states are added up. The network to retrain concatenates them and brings them to C channels
by a 1x1 convolution, here the sum of one for each of them; its channels are doubled where the image is halved; and, as
in the program, its separable convolutions are full ones.

What differs from the program: it cannot retrain a network with pooling, which has here a 1x1 convolution before it, as
in the supernet.
"""

from __future__ import annotations

from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from nasreg.errors import SpaceError
from nasreg.nn import InputChoice, LayerChoice
from nasreg.specs import DataInfo
from nasreg_enas.config import MacroConfig
from nasreg_enas.layers import FactorizedReduction, Source, conv_bn, pool, stem

SMALLEST_SIDE = 5
"""Images with a shorter side below this many pixels end with maps of one pixel."""

MASKED_EPSILON = 1e-3
"""Of the BatchNorm of a convolution in the supernet, as in the program."""


def search_operation(name: str, channels: int) -> nn.Module:
    """Return an operation of the supernet: ``(B, C, H, W)`` to ``(B, C, H, W)``."""
    reduced = [*conv_bn(channels, channels), nn.ReLU()]
    if "pool" in name:
        return nn.Sequential(*reduced, pool(name))
    size = int(name[-1])
    separable = name.startswith("sep")
    groups = channels if separable else 1
    conv = nn.Conv2d(channels, channels, size, padding=size // 2, groups=groups, bias=False)
    pointwise = [nn.Conv2d(channels, channels, 1, bias=False)] if separable else []
    return nn.Sequential(*reduced, conv, *pointwise, nn.BatchNorm2d(channels, eps=MASKED_EPSILON), nn.ReLU())


def retrain_operation(name: str, channels: int) -> nn.Module:
    """Return an operation of the network to retrain: ``(B, C, H, W)`` to ``(B, C, H, W)``."""
    reduced = [nn.ReLU(), *conv_bn(channels, channels)]
    if "pool" in name:
        return nn.Sequential(*reduced, pool(name))
    return nn.Sequential(*reduced, nn.ReLU(), *conv_bn(channels, channels, int(name[-1])))


class MacroLayer(nn.Module):
    """A layer: an operation, whose output is joined with earlier states and normalised.

    Args:
        config: Options of the space.
        number: Number of the layer, from 1; the first one has no state to be joined with.
        channels: Channels C of each state.
    """

    def __init__(self, config: MacroConfig, number: int, channels: int) -> None:
        super().__init__()
        retrain = config.phase == "retrain"
        make = retrain_operation if retrain else search_operation
        self.operation = LayerChoice(
            {name: partial(make, name, channels) for name in config.candidates}, key=f"op{number}"
        )
        self.skips: InputChoice | None = None
        if number == 1:
            return

        def convolved(name: str = "") -> nn.Module:
            del name
            return nn.Sequential(nn.ReLU(), nn.Conv2d(channels, channels, 1, bias=False))

        self.own = convolved() if retrain else nn.Identity()
        adapters = convolved if retrain else None
        self.skips = InputChoice(number - 1, n_chosen=None, adapters=adapters, key=f"skip{number}")
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, states: list[Tensor]) -> Tensor:
        """Compute state ``len(states)`` from the states before it, ``(B, C, H, W)`` each."""
        out: Tensor = self.operation(states[-1])
        if self.skips is not None:
            out = self.bn(self.own(out) + self.skips(states[:-1]))
        return out


class MacroNetwork(nn.Module):
    """``(B, C, H, W)`` images to ``(B, classes)`` logits."""

    def __init__(self, info: DataInfo, config: MacroConfig) -> None:
        super().__init__()
        self.memory_format: torch.memory_format | None = None
        third = config.layers // 3
        channels = config.channels
        self.stem = stem(info.channels, channels)
        self.layers = nn.ModuleList()
        self.halvers = nn.ModuleDict()
        for number in range(1, config.layers + 1):
            self.layers.append(MacroLayer(config, number, channels))
            if third and number in (third, 2 * third):
                source, channels = Source(channels), channels * (1 + (config.phase == "retrain"))
                self.halvers[str(number)] = nn.ModuleList(
                    FactorizedReduction(source, channels) for _ in range(number + 1)
                )
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(channels, info.n_classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits of ``(B, C, H, W)`` images."""
        if self.memory_format is not None:
            x = x.contiguous(memory_format=self.memory_format)
        states = [self.stem(x)]
        for number, layer in enumerate(self.layers, 1):
            states.append(layer(states))
            if str(number) in self.halvers:
                halvers = cast("nn.ModuleList", self.halvers[str(number)])
                states = [halve(state) for halve, state in zip(halvers, states, strict=True)]
        logits: Tensor = self.classifier(self.dropout(states[-1].mean((2, 3))))
        return logits


def build(info: DataInfo, config: MacroConfig) -> MacroNetwork:
    """Build the supernet, or with ``phase="retrain"`` the network that is frozen to be retrained.

    Raises:
        SpaceError: The image is too small.
    """
    if min(info.height, info.width) < SMALLEST_SIDE:
        raise SpaceError(
            f"an image of {info.height}x{info.width} pixels is too small for the space enas-macro: set"
            f" dataset.image_size to {SMALLEST_SIDE} or more"
        )
    return MacroNetwork(info, config)
