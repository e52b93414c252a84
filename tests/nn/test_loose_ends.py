"""Layers after a cell whose frozen output has only the states that no node reads."""

from __future__ import annotations

import copy
import random

import pytest
import torch
from torch import nn

from nasreg.errors import SpaceError
from nasreg.nn import AfterLooseEnds, Cell, deferred_candidates, extract_space, freeze, named_choices, parameter_count

OPERATIONS = {
    "skip": lambda source, node: nn.Identity(),
    "conv": lambda source, node: nn.Conv2d(4, 4, 3, padding=1),
}


class Net(nn.Module):
    """Two cells of one decision, each read by two layers."""

    def __init__(self):
        super().__init__()
        self.cells = nn.ModuleList(
            Cell(OPERATIONS, nodes=3, repeat_sources=True, loose_ends=True, drop_zeros=True, key="cell")
            for _ in range(2)
        )
        first, second = self.cells
        self.other = AfterLooseEnds(first, nn.Conv2d(12, 4, 1, stride=2))
        self.norm = nn.Sequential(nn.ReLU(), AfterLooseEnds(first, nn.Conv2d(12, 4, 1, bias=False)), nn.BatchNorm2d(4))
        self.head = AfterLooseEnds(second, nn.Linear(12, 3))

    def forward(self, x):
        first = self.cells[0](x, x)
        y = self.norm(first)
        second = self.cells[1](y, y)
        return self.head(second.mean((2, 3))), self.other(first)


@pytest.mark.parametrize("seed", range(6))
def test_the_frozen_network_computes_the_same_without_dead_weights(seed):
    torch.manual_seed(seed)
    net = Net().double()
    space, x = extract_space(net), torch.randn(2, 4, 6, 6, dtype=torch.float64)
    architecture = space.sample(random.Random(seed))
    before = copy.deepcopy(net.state_dict())
    frozen = freeze(net, architecture)
    for _, _, choice, _ in named_choices(net):
        choice.bind(lambda: architecture.decisions["cell"])
    for mode in (True, False):
        for found, expected in zip(frozen.train(mode)(x), net.train(mode)(x), strict=True):
            torch.testing.assert_close(found, expected)
    loose = len(space["cell"].output_states(architecture.decisions["cell"]))
    shapes = [module.weight.shape for module in (frozen.other, frozen.norm[1], frozen.head)]
    assert shapes == [(4, 4 * loose, 1, 1), (4, 4 * loose, 1, 1), (3, 4 * loose)]
    assert (frozen.other.in_channels, frozen.head.in_features) == (4 * loose, 4 * loose)
    assert not any(type(module).__module__.startswith("nasreg") for module in frozen.modules())
    sum(each.sum() for each in frozen(x)).backward()
    assert all(parameter.grad is not None for parameter in frozen.parameters())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items() if "norm.2" not in name)
    with deferred_candidates():
        alone = freeze(Net(), architecture, in_place=True)
    assert parameter_count(alone) == parameter_count(frozen)


def test_what_cannot_be_after_loose_ends():
    cell = Net().cells[0]
    for layer in (nn.Conv2d(12, 12, 1, groups=2), nn.BatchNorm2d(12)):
        with pytest.raises(SpaceError, match="takes a Conv2d with one group or a Linear"):
            AfterLooseEnds(cell, layer)
    with pytest.raises(SpaceError, match="has 13 channels, which the 3 states of Cell 'cell' cannot have"):
        AfterLooseEnds(cell, nn.Linear(13, 1))
    for options in ({}, {"loose_ends": True, "join": "sum"}):
        with pytest.raises(SpaceError, match="drop_zeros is for loose ends that are concatenated"):
            Cell(OPERATIONS, drop_zeros=True, key="cell", **options)
