"""Auxiliary skip connections: what an edge computes with them, and what they leave as it is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nasreg.errors import SpaceError
from nasreg.nn import (
    CellWeights,
    Execution,
    LayerChoice,
    add_auxiliary_skips,
    extract_space,
    freeze,
    use_partial_channels,
)
from nasreg.spaces.config import DartsSpaceConfig
from nasreg.spaces.darts import build
from nasreg.specs import DataInfo

EXECUTIONS = (Execution(optimized=False), Execution(), Execution(min_fused_numel=0))


def network() -> nn.Module:
    torch.manual_seed(0)
    info = DataInfo(channels=3, height=8, width=8, classes=("a", "b"))
    return build(info, DartsSpaceConfig(cells=2, channels=4, nodes=1, reductions=1)).double()


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("number", [0, 1])
def test_an_edge_adds_the_skip_times_its_weight_and_that_of_the_edge(execution, number):
    model = network()
    skips = add_auxiliary_skips(model)
    cell = model.cells[number].cell
    cell.execution = execution
    weights, edges = torch.rand(2, 8).double(), torch.rand(2).double()
    x = torch.randn(2, 2, 4 * (number + 1), 6, 6).double()
    cell.bind(lambda: CellWeights(weights, edges))
    found = []
    for skips.weight in (0.0, 0.5):
        found.append(cell(*x))
    added = sum(0.5 * edges[edge] * cell.auxiliary_skips[str(edge)](x[edge]) for edge in range(2))
    torch.testing.assert_close(found[1], found[0] + added, rtol=1e-9, atol=1e-9)
    assert skips.weight == 0.5


def test_it_is_no_candidate_and_has_weights_of_its_own():
    plain, model = network(), network()
    add_auxiliary_skips(model)
    assert extract_space(model).fingerprint == extract_space(plain).fingerprint
    cell = model.cells[1].cell
    kernel, own = cell.edges[0]["skip_connect"].conv_1.weight, cell.auxiliary_skips["0"].conv_1.weight
    assert kernel.shape == own.shape
    assert not torch.equal(kernel, own)
    decisions = dict.fromkeys(("normal", "reduce"), ((("skip_connect", 0), ("sep_conv_3x3", 1)),))
    architecture = extract_space(model).architecture(decisions)
    x = torch.randn(2, 3, 8, 8).double()
    assert torch.equal(freeze(model, architecture)(x), freeze(plain, architecture)(x))
    for each in model.cells:
        each.cell.bind(lambda: decisions["normal"])
    assert torch.equal(model(x), freeze(plain, architecture)(x))


def test_with_partial_channels_the_skip_is_a_part_of_what_the_candidates_compute():
    model = network()
    use_partial_channels(model, 2)
    add_auxiliary_skips(model)
    cell, zero = model.cells[0].cell, torch.zeros(2, 8).double()
    x = torch.randn(2, 2, 4, 6, 6).double()
    cell.bind(lambda: zero)
    output = cell(*x)
    assert torch.equal(output[:, ::2], x[0][:, :2] + x[1][:, :2])
    assert torch.equal(output[:, 1::2], x[0][:, 2:] + x[1][:, 2:])


def test_a_model_without_such_cells_is_refused():
    with pytest.raises(SpaceError, match="cells with the candidate 'skip_connect', and the model has none"):
        add_auxiliary_skips(nn.Sequential(LayerChoice([nn.Identity()])))
