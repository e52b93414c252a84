"""Partial channels: the formula of the paper on every path, candidates with fewer channels, and what is refused."""

from __future__ import annotations

import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nasreg.errors import SpaceError
from nasreg.nn import (
    Cell,
    CellWeights,
    Execution,
    LayerChoice,
    extract_space,
    freeze,
    set_execution,
    use_partial_channels,
)
from nasreg.spaces.config import DartsSpaceConfig
from nasreg.spaces.darts import build
from nasreg.specs import DataInfo

EXECUTIONS = (Execution(optimized=False), Execution(), Execution(min_fused_numel=0), Execution(checkpoint=True))


def network(channels: int, k: int, **options: object) -> nn.Module:
    torch.manual_seed(0)
    info = DataInfo(channels=3, height=8, width=8, classes=("a", "b"))
    model = build(info, DartsSpaceConfig(cells=3, channels=channels, nodes=2, reductions=1, **options)).double()
    use_partial_channels(model, k)
    return model


def formula(cell: Cell, weights: torch.Tensor, edges: torch.Tensor, x: torch.Tensor, k: int) -> torch.Tensor:
    """Compute a cell of two nodes as the paper and the authors' program have it, edge by edge."""
    states = list(x)
    for first, sources in ((0, 2), (2, 3)):
        total = 0
        for source in range(sources):
            edge, state = first + source, states[source]
            n = state.shape[1] // k
            mixed = sum(
                w * op(state[:, :n]) for w, op in zip(weights[edge, 1:], cell.edges[edge].values(), strict=True)
            )
            past = state[:, n:]
            past = past if mixed.shape[2] == past.shape[2] else F.max_pool2d(past, 2, 2, ceil_mode=True)
            both = torch.cat([mixed, past], 1)
            batch, channels, *sides = both.shape
            shuffled = both.view(batch, k, channels // k, *sides).transpose(1, 2).reshape(both.shape)
            total = total + edges[edge] * shuffled
        states.append(total)
    return torch.cat(states[2:], 1)


@pytest.mark.parametrize(("number", "side"), [(0, 6), (1, 6), (1, 5)])
@pytest.mark.parametrize("by_edge", [True, False])
def test_every_path_computes_the_papers_formula(number, side, by_edge):
    model = network(8, 4)
    cell = model.cells[number].cell
    channels = 4 * cell.edges[0]["sep_conv_3x3"][1].in_channels
    weights = torch.rand(5, 8, dtype=torch.float64, requires_grad=True)
    edges = torch.rand(5, dtype=torch.float64, requires_grad=True) if by_edge else torch.ones(5, dtype=torch.float64)
    x = torch.randn(2, 3, channels, side, side, dtype=torch.float64, requires_grad=True)
    by = [x, weights, *([edges] if by_edge else []), *cell.parameters()]

    def results(output: torch.Tensor) -> list[torch.Tensor]:
        return [output.detach(), *torch.autograd.grad(output.square().sum(), by)]

    wanted = results(formula(cell, weights, edges, x, 4))
    cell.bind(lambda: CellWeights(weights, edges if by_edge else None))
    for execution in EXECUTIONS:
        set_execution(model, execution)
        for one, two in zip(results(cell(*x)), wanted, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_sparse_answers_compute_what_has_a_weight_and_the_channels_past_it(execution):
    model = network(8, 2)
    cell, one = model.cells[1].cell, torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    cell.execution = execution
    x = torch.randn(2, 2, 16, 6, 6, dtype=torch.float64)
    cell.bind(lambda: [{"none": one}, {}, {"skip_connect": one}, {}, {}])
    first, second = cell(*x).chunk(2, 1)
    assert torch.equal(first[:, 1::2], F.max_pool2d(x[0][:, 8:], 2, 2))
    assert first[:, ::2].abs().sum() == 0
    torch.testing.assert_close(second[:, 1::2], F.max_pool2d(x[0][:, 8:], 2, 2))
    assert second[:, ::2].abs().sum() > 0


def test_candidates_have_a_part_of_the_channels_and_new_weights():
    whole, part = network(8, 1), network(8, 4)
    kernel = part.cells[0].cell.edges[0]["sep_conv_3x3"][1].weight
    assert kernel.shape == (2, 1, 3, 3)
    assert part.cells[1].cell.edges[0]["skip_connect"].conv_1.weight.shape == (2, 4, 1, 1)
    assert not torch.equal(kernel, whole.cells[0].cell.edges[0]["sep_conv_3x3"][1].weight[:2])
    assert torch.equal(whole.cells[0].preprocess0[1].weight, part.cells[0].preprocess0[1].weight)
    assert extract_space(part).fingerprint == extract_space(whole).fingerprint


def test_a_model_with_partial_channels_cannot_be_frozen():
    model = network(8, 4)
    with pytest.raises(SpaceError, match=r"with partial channels: .* Build the model anew and freeze that"):
        freeze(model, extract_space(model).sample(random.Random(0)))


class Odd(nn.Module):
    """A layer with parameters that is none of torch's own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * x


def one_cell(candidate) -> nn.Module:
    return nn.Sequential(Cell({"op": lambda source, node: candidate()}, inputs=1, nodes=1, edges_kept=1, key="c"))


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (lambda: LayerChoice([nn.Conv2d(4, 4, 1)]), "the model has no cell: leave them out"),
        (lambda: one_cell(Odd), "'op' of edge 0 of c has a layer of type Odd: partial channels narrow torch's Conv2d"),
        (lambda: one_cell(lambda: nn.Conv2d(6, 6, 1)), "a Conv2d of 6 channels, which .* cannot divide by 4"),
        (lambda: one_cell(lambda: nn.Conv2d(4, 4, 1, groups=2)), "2 groups, which do not divide the 1 channels"),
    ],
)
def test_what_cannot_be_narrowed_is_told(model, problem):
    made = model()
    before = dict(made.named_modules())
    with pytest.raises(SpaceError, match=problem):
        use_partial_channels(made, 4)
    assert dict(made.named_modules()) == before


@pytest.mark.parametrize("execution", EXECUTIONS[:2])
@pytest.mark.parametrize(
    ("candidate", "channels", "problem"),
    [
        (lambda: nn.Conv2d(8, 16, 1), 8, "keep the number of channels, but for an input of 2 they return .*, 4, 4, 4"),
        (nn.Identity, 6, "divide the channels of a cell into 4, but it has 6"),
    ],
)
def test_what_does_not_fit_when_it_is_computed_is_told(execution, candidate, channels, problem):
    model = one_cell(candidate)
    use_partial_channels(model, 4)
    set_execution(model, execution)
    model[0].bind(lambda: torch.ones(1, 1))
    with pytest.raises(SpaceError, match=problem):
        model[0](torch.zeros(2, channels, 4, 4))
