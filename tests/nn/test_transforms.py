"""Transforms of candidates and edges: what they are given, what the supernet computes with them, and undoing them."""

from __future__ import annotations

import pickle
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nasreg.errors import SpaceError
from nasreg.nn import (
    Cell,
    CellWeights,
    Execution,
    InputChoice,
    LayerChoice,
    candidate_sites,
    extract_space,
    freeze,
    named_choices,
    set_execution,
    transform_candidates,
    transform_edges,
)

EXECUTIONS = (Execution(optimized=False), Execution(), Execution(min_fused_numel=0))
NAMES = ("none", "pool", "skip", "conv")


class Net(nn.Module):
    """Two cells that share a decision, the second a reduction cell with another, and a choice of layers."""

    def __init__(self, channels=4, cell_channels=4):
        super().__init__()

        def make(name, stride):
            if name == "pool":
                return nn.Sequential(nn.MaxPool2d(3, stride, 1), nn.BatchNorm2d(cell_channels, affine=False))
            if name == "skip" and stride == 1:
                return nn.Identity()
            conv = nn.Conv2d(cell_channels, cell_channels, 3, stride, 1, bias=False)
            return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(cell_channels))

        def cell(reduction):
            def factory(name):
                return lambda source, node: make(name, 2 if reduction and source < 2 else 1)

            makers = {name: factory(name) if name != "none" else None for name in NAMES}
            key = "reduce" if reduction else "normal"
            return Cell(makers, nodes=2, edges_kept=1, reduction=reduction, key=key)

        self.stem = LayerChoice({"a": nn.Conv2d(3, channels, 1), "b": nn.Conv2d(3, channels, 3, padding=1)}, key="stem")
        self.cells = nn.ModuleList([cell(False), cell(True)])
        self.between = nn.Conv2d(2 * channels, channels, 1)
        self.inputs = InputChoice(2, key="inputs")

    def forward(self, x):
        x = self.stem(x)
        x = self.between(self.cells[0](x, x))
        x = self.inputs([x, x.flip(1)])
        return self.cells[1](x, x)


class PartialChannels(nn.Module):
    """The partial channel connection of PC-DARTS (arXiv 1907.05737, section 3.2) and its channel shuffle."""

    def __init__(self, share, stride):
        super().__init__()
        self.share, self.bypass = share, nn.MaxPool2d(2, 2, ceil_mode=True) if stride == 2 else nn.Identity()

    def forward(self, x, mixed):
        count = x.shape[1] // self.share
        joined = torch.cat([mixed(x[:, :count]), self.bypass(x[:, count:])], 1)
        batch, channels, height, width = joined.shape
        shuffled = joined.reshape(batch, self.share, channels // self.share, height, width).transpose(1, 2)
        return shuffled.reshape(batch, channels, height, width)


def decide(model, architecture):
    for key, _, choice, _ in named_choices(model):
        choice.bind(lambda key=key: architecture.decisions[key])
    return model


def partial(site):
    return PartialChannels(2, 2 if site.reduction and site.source < 2 else 1)


def test_sites_of_all_candidates():
    model = Net()
    sites = list(candidate_sites(model))
    assert len(sites) == 2 + 2 * 5 * 3  # none has no module
    for site, module in sites:
        assert model.get_submodule(site.path) is module
        assert site.path.startswith(site.choice_path)
        assert site.reduction == (site.key == "reduce")
    site = sites[2 + 4 * 3][0]
    assert (site.key, site.choice_path, site.candidate) == ("normal", "cells.0", "pool")
    assert (site.source, site.node, site.edge) == (2, 1, 4)
    assert (sites[0][0].source, sites[0][0].node, sites[0][0].edge) == (None, None, None)
    shared = LayerChoice([nn.Identity(), nn.ReLU()], key="a")
    assert [site.path for site, _ in candidate_sites(nn.Sequential(shared, shared))] == [
        "0.candidates.0",
        "0.candidates.1",
    ]
    assert [site.path for site, _ in candidate_sites(shared)] == ["candidates.0", "candidates.1"]


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_dropout_after_skips_of_stride_one_and_back(execution):
    torch.manual_seed(0)
    model, x = Net().eval(), torch.randn(2, 3, 8, 8)
    set_execution(model, execution)
    architecture = extract_space(model).architecture(
        {"stem": "a", "inputs": ("0",), **dict.fromkeys(("normal", "reduce"), ((("skip", 0),), (("skip", 2),)))}
    )
    decide(model, architecture)
    before, modules = model(x), dict(model.named_modules())
    dropouts = []

    def dropout(site, module):
        if site.candidate == "skip" and isinstance(module, nn.Identity):
            dropouts.append(nn.Dropout(1.0))
            return dropouts[-1]
        return module

    handle = transform_candidates(model, dropout)
    assert len(dropouts) == 5 + 1
    assert torch.equal(model.eval()(x), before)
    features = torch.randn(2, 2, 4, 8, 8)
    model.cells[0].train()
    assert model.cells[0](*features).abs().sum() == 0
    assert freeze(model, architecture).cells[0](*features).abs().sum() == 0
    handle.remove()
    handle.remove()
    assert dict(model.named_modules()) == modules
    assert torch.equal(model.eval()(x), before)


def test_transforms_are_undone_in_reverse_order():
    model = Net()
    one = transform_candidates(model, lambda site, module: nn.Sequential(module))
    other = transform_candidates(model, lambda site, module: nn.Sequential(module))
    with pytest.raises(SpaceError, match="remove the later transform first"):
        one.remove()
    other.remove()
    one.remove()
    with pytest.raises(SpaceError, match=r"the transform of stem\.candidates\.a returned a NoneType"):
        transform_candidates(model, lambda site, module: None)
    edges = transform_edges(model, partial)
    with pytest.raises(SpaceError, match=r"edge 0 of cells\.0 has a transform already: remove that first"):
        transform_edges(model, partial)
    edges.remove()
    assert not any(isinstance(module, PartialChannels) for module in model.modules())
    with pytest.raises(SpaceError, match="returned a str"):
        transform_edges(model, lambda site: "x")


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_partial_channels_compute_the_papers_formula(mode):
    torch.manual_seed(0)
    model = Net(8, 4).double().train(mode == "train")
    transform_edges(model, partial)
    weights = torch.rand(5, 4, dtype=torch.float64, requires_grad=True)
    edges = torch.rand(5, dtype=torch.float64, requires_grad=True)
    cell, x = model.cells[1], torch.randn(2, 2, 8, 6, 6, dtype=torch.float64)
    cell.bind(lambda: CellWeights(weights, edges))
    by, found = [weights, edges, *cell.parameters()], []
    for execution in EXECUTIONS:
        set_execution(model, execution)
        output = cell(*x)
        found.append([output, *torch.autograd.grad(output.square().sum(), by)])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)
    states = list(x)
    for sources, first in ((2, 0), (3, 2)):
        total = 0
        for source in range(sources):
            edge, state = first + source, states[source]
            operations = list(cell.edges[edge].values())
            mixed = sum(w * op(state[:, :4]) for w, op in zip(weights[edge, 1:], operations, strict=True))
            rest = state[:, 4:]
            rest = nn.functional.max_pool2d(rest, 2, 2, ceil_mode=True) if source < 2 else rest
            both = torch.stack([mixed, rest], 2).flatten(1, 2)  # the shuffle of two groups
            total = total + edges[edge] * both
        states.append(total)
    torch.testing.assert_close(found[0][0], torch.cat(states[2:], 1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_none_keeps_its_share_of_the_bypass_and_an_edge_without_weights_is_out(execution):
    model = Net(8, 4)
    transform_edges(model, partial)
    cell, x = model.cells[1], torch.randn(2, 2, 8, 6, 6)
    cell.execution = execution
    one = torch.tensor(1.0)
    cell.bind(lambda: [{"none": one}, {}, {}, {}, {}])
    output = cell(*x)
    bypass = nn.functional.max_pool2d(x[0][:, 4:], 2, 2)
    assert torch.equal(output[:, 1:8:2], bypass)
    assert output[:, :8:2].abs().sum() == 0
    assert output[:, 8:].abs().sum() == 0


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.sampled_from(["train", "eval"]))
def test_a_frozen_network_has_the_transforms_of_its_path(seed, mode):
    torch.manual_seed(seed)
    model = Net(8, 4).double().train(mode == "train")
    transform_candidates(model, lambda site, module: nn.Sequential(module, nn.Tanh()) if site.edge else module)
    transform_edges(model, partial)
    architecture = extract_space(model).sample(random.Random(seed))
    x = torch.randn(2, 3, 6, 6).double()
    wanted = decide(model, architecture)(x)
    frozen = freeze(model, architecture)
    assert not any(type(module).__module__.startswith("nasreg") for module in frozen.modules())
    torch.testing.assert_close(frozen(x), wanted, rtol=1e-9, atol=1e-9)


def test_a_frozen_cell_with_transforms_can_be_pickled():
    model = Net(8, 4).eval()
    transform_edges(model, partial)
    cell, x = model.cells[0], torch.randn(2, 2, 8, 6, 6)
    plain = cell.materialize(((("conv", 0),), (("pool", 2),)))
    assert torch.equal(pickle.loads(pickle.dumps(plain))(*x), plain(*x))
    with pytest.raises(SpaceError, match="'none' is chosen for edge 0, which has a transform: remove that before"):
        cell.materialize(((("none", 0),), (("pool", 2),)))
