"""Morphs preserve what a network computes: random networks of the space, in float64."""

from __future__ import annotations

import copy
import random
from dataclasses import replace

import pytest
import torch
from torch import nn

from nasreg.nn import extract_space, freeze
from nasreg.spaces.config import ElasticChainSpaceConfig
from nasreg.spaces.elastic_chain import build
from nasreg.specs import DataInfo
from nasreg_morphism.chain import Block, ChainSpace, Skip, aligned, chain_of, insert
from nasreg_morphism.weights import inherit

INFO = DataInfo(channels=3, height=9, width=9, classes=("a", "b", "c"))
TOLERANCE = 1e-9


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build(INFO, ElasticChainSpaceConfig(blocks=5, widths=(2, 3, 5, 8))).double()


@pytest.fixture(scope="module")
def chains(model):
    return ChainSpace(extract_space(model))


def network(model, architecture, seed=0):
    """Return the network of an architecture, with statistics and scales that are not those of a new BatchNorm."""
    found = freeze(model, architecture)
    torch.manual_seed(seed)
    for module in found.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight, 1, 0.5)
            nn.init.normal_(module.bias)
    return found


def morphed(model, chains, parent, before, chain):
    """Return the network of a chain with the weights of a parent."""
    child = chains.architecture(chain)
    assert aligned(chain_of(before), chain) is not None
    found = freeze(model, child)
    found.load_state_dict(inherit(before, child, parent.state_dict()), strict=True)
    return found


@torch.no_grad()
def difference(one, other, mode, seed=0):
    x = torch.randn(6, 3, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    outputs = [copy.deepcopy(each).train(mode == "train")(x) for each in (one, other)]
    return float((outputs[0] - outputs[1]).abs().max())


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 8))])
@pytest.mark.parametrize("kind", ["deeper", "wider", "skip", "all"])
def test_a_morph_preserves_what_a_random_network_computes(model, chains, kind, seed):
    rng = random.Random(seed)
    before = chains.space.sample(rng)
    parent, chain = network(model, before, seed), chain_of(before)
    for _ in range(5 if kind == "all" else 1):
        chain = (chains.morph if kind == "all" else getattr(chains, kind))(chain, rng) or chain
    child = morphed(model, chains, parent, before, chain)
    assert difference(parent, child, "eval", seed) < TOLERANCE
    if kind in ("wider", "skip"):
        assert difference(parent, child, "train", seed) < TOLERANCE


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_larger_kernel_and_a_much_wider_block_compute_the_same(model, chains, mode):
    skips = [frozenset({Skip(kind, 0)}) for kind in ("concat", "add")]
    chain = (Block(2, 1, 1), Block(2, 3, 2, skips[0]), Block(3, 1, 1, skips[1]))
    before = chains.architecture(chain)
    parent = network(model, before)
    grown = tuple(replace(block, width=8, kernel=5) for block in chain)
    child = morphed(model, chains, parent, before, grown)
    assert difference(parent, child, mode) < TOLERANCE


def test_copied_channels_do_not_stay_equal(model, chains):
    """What reads them divides its weights unequally, so that their gradients differ."""
    before = chains.architecture((Block(2, 3, 1), Block(2, 3, 1)))
    parent = network(model, before)
    child = morphed(model, chains, parent, before, (Block(5, 3, 1), Block(2, 3, 1)))
    child(torch.randn(4, 3, 9, 9, dtype=torch.float64)).square().sum().backward()
    weight = child.chain[0].conv.weight
    copies = [(i, j) for i in range(5) for j in range(i) if torch.equal(weight[i], weight[j])]
    assert len(copies) >= 3
    assert not any(torch.allclose(weight.grad[i], weight.grad[j]) for i, j in copies)


def test_a_deeper_network_is_close_in_training_mode(model, chains):
    before = chains.architecture((Block(8, 3, 1),))
    parent = freeze(model, before)
    child = morphed(model, chains, parent, before, (Block(8, 3, 1), Block(8, 3, 1)))
    x = torch.randn(64, 3, 9, 9, dtype=torch.float64)
    expected, found = parent.train()(x), child.train()(x)
    spread = (expected - expected.mean(0)).norm()
    assert 0 < (expected - found).norm() < 0.3 * spread  # they are those of a normal distribution but for the sample
    deep = freeze(model, chains.architecture((Block(8, 3, 1), Block(8, 3, 1)))).train()
    assert (expected - deep(x)).norm() > spread


def test_blocks_are_found_again_in_the_child():
    parent = (Block(2, 3, 1), Block(2, 3, 2), Block(5, 1, 1, frozenset({Skip("add", 0)})))
    assert aligned(parent, parent) == [0, 1, 2]
    child = insert(insert(parent, 0, 5), 3, 3)
    assert aligned(parent, child) == [0, 2, 3]
    assert child[3].skips == {Skip("add", 0)}
    moved = (*insert(parent, 1, 1)[:3], replace(parent[2], skips=frozenset({Skip("add", 1)})))
    for other in (
        parent[:2],  # a block is missing
        (replace(parent[0], width=1), *parent[1:]),
        (replace(parent[0], stride=2), *parent[1:]),
        (*parent[:2], replace(parent[2], skips=frozenset())),
        (*parent, Block(3, 1, 1)),  # a new block narrower than the one before
        moved,
    ):
        assert aligned(parent, other) is None
    deep = (Block(2, 1, 1),) * 32
    assert aligned(deep[:16], (*deep[:31], Block(1, 1, 1))) is None  # found out at once


def test_where_no_morphs_lead_the_weights_are_those_of_the_parent(model, chains):
    before = chains.architecture((Block(5, 3, 1), Block(5, 3, 1)))
    weights = network(model, before).state_dict()
    assert inherit(before, chains.architecture((Block(2, 3, 1),)), weights) == weights


def test_morphs_end_where_the_space_does():
    config = ElasticChainSpaceConfig(blocks=2, widths=(2, 4), kernels=(3,), skips=("add",))
    space = extract_space(build(INFO, config))
    chains, rng = ChainSpace(space), random.Random(0)
    chain, seen = (Block(2, 3, 1),), 0
    while (found := chains.morph(chain, rng)) is not None:
        assert chain_of(chains.architecture(found)) == found
        chain, seen = found, seen + 1
    assert chain == (Block(4, 3, 1), Block(4, 3, 1, frozenset({Skip("add", 0)})))
    assert 3 <= seen <= 4
