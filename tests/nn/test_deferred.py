"""Models built without the candidates that are not chosen."""

from __future__ import annotations

import random
from functools import partial

import pytest
import torch
from torch import nn

from nasreg.errors import SpaceError
from nasreg.nn import (
    Cell,
    LayerChoice,
    candidate_sites,
    deferred_candidates,
    extract_space,
    freeze,
    named_choices,
)
from nasreg.spaces import chain, darts, elastic_chain, mobilenet
from nasreg.spaces.config import ChainSpaceConfig, DartsSpaceConfig, ElasticChainSpaceConfig, MobileNetSpaceConfig
from nasreg.specs import DataInfo

INFO = DataInfo(channels=2, height=8, width=8, classes=("a", "b"))


class Counted(nn.Linear):
    """A layer that counts how many of its kind are made."""

    made = 0

    def __init__(self):
        super().__init__(3, 3)
        Counted.made += 1


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = LayerChoice({"given": nn.ReLU(), "a": Counted, "b": Counted}, key="layer")
        self.cell = Cell(
            {"none": None, "a": lambda source, node: Counted(), "b": lambda source, node: Counted()},
            nodes=2,
            key="cell",
        )

    def forward(self, x):
        x = self.layer(x)
        return self.cell(x, x)


SPACES = {
    "darts": lambda: darts.build(INFO, DartsSpaceConfig(cells=3, channels=2, nodes=2)),
    "darts, retrain": lambda: darts.build(INFO, DartsSpaceConfig(cells=3, channels=2, nodes=3, phase="retrain")),
    "chain": lambda: chain.build(INFO, ChainSpaceConfig(blocks=3, channels=4)),
    "elastic-chain": lambda: elastic_chain.build(INFO, ElasticChainSpaceConfig(blocks=3, widths=(3, 2))),
    "mobilenet": lambda: mobilenet.build(INFO, MobileNetSpaceConfig(channels=8, stages=1, blocks=2, head=16)),
    "net": Net,
}


@pytest.mark.parametrize("title", SPACES)
def test_the_network_of_a_deferred_model_is_that_of_the_whole_model(title):
    whole = SPACES[title]()
    space = extract_space(whole)
    for seed in range(3):
        architecture = space.sample(random.Random(seed))
        with deferred_candidates():
            model = SPACES[title]()
            assert extract_space(model) == space
            network = freeze(model, architecture, in_place=True)
        expected = freeze(whole, architecture)
        assert [name for name, _ in network.named_modules()] == [name for name, _ in expected.named_modules()]
        network.load_state_dict(expected.state_dict())
        x = torch.randn(2, 3) if title == "net" else torch.randn(2, 2, 8, 8)
        assert torch.equal(network(x), expected(x))


def test_only_what_is_chosen_is_built():
    with deferred_candidates():
        Counted.made = 0
        model = Net()
        architecture = extract_space(model).architecture({"layer": "given", "cell": ((("a", 0), ("b", 1)),) * 2})
        assert Counted.made == 0
        freeze(model, architecture, in_place=True)
        assert Counted.made == 4
    Counted.made = 0
    Net()
    assert Counted.made == 2 + 2 * 5  # at once again, outside of the context


def test_a_deferred_model_is_copied_unless_frozen_in_place():
    with deferred_candidates():
        model = Net()
    architecture = extract_space(model).sample(random.Random(0))
    first, second = freeze(model, architecture), freeze(model, architecture)
    assert first.state_dict().keys() == second.state_dict().keys()
    assert extract_space(model).sample(random.Random(0)) == architecture


def test_a_deferred_model_cannot_be_used_otherwise():
    with deferred_candidates():
        model = Net()
    for _, _, choice, _ in named_choices(model):
        choice.bind({"layer": lambda: "a", "cell": lambda: ((("a", 0), ("b", 1)),) * 2}[choice.key])
    for choice in (partial(model.layer), partial(model.cell, torch.ones(1, 3))):
        with pytest.raises(SpaceError, match=r"candidate 'a' is not built.*deferred_candidates"):
            choice(torch.ones(1, 3))
    with pytest.raises(SpaceError, match="not built"):
        list(candidate_sites(model))


@pytest.mark.parametrize(
    ("candidate", "says"),
    [
        (lambda: "conv", "returned a str, not an nn.Module"),
        (lambda: LayerChoice([nn.ReLU()], key="inner"), "'inner' is in a candidate of another choice: nested"),
    ],
)
def test_what_is_wrong_with_a_candidate_is_said_when_it_is_built(candidate, says):
    with deferred_candidates():
        model = nn.Sequential(LayerChoice([candidate], key="a"))
    with pytest.raises(SpaceError, match=says):
        freeze(model, extract_space(model).architecture({"a": "0"}), in_place=True)


def test_a_cell_whose_factory_returns_one_module_for_two_edges():
    shared = nn.ReLU()
    with deferred_candidates():
        model = nn.Sequential(Cell({"a": lambda source, node: shared}, nodes=1, key="c"))
    with pytest.raises(SpaceError, match="same ReLU twice"):
        freeze(model, extract_space(model).architecture({"c": ((("a", 0), ("a", 1)),)}), in_place=True)
