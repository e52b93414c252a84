"""The forms of a cell: slots that may read one state twice, none to choose, other ways to make the output."""

from __future__ import annotations

import copy
import random

import pytest
import torch
from torch import nn

from nasreg.errors import SpaceError
from nasreg.nn import (
    Cell,
    CellWeights,
    Execution,
    candidate_sites,
    extract_space,
    freeze,
    named_choices,
    transform_edges,
)
from nasreg.spaces.operations import OPERATIONS
from nasreg.specs import CellSpec

EXECUTIONS = (Execution(optimized=False), Execution(), Execution(min_fused_numel=0), Execution(checkpoint=True))
NAMES = ("none", "skip_connect", "sep_conv_3x3", "max_pool_3x3")
FORMS = {
    "slots": {"repeat_sources": True},
    "slots, none": {"repeat_sources": True, "none_selectable": True},
    "slots, loose ends": {"repeat_sources": True, "loose_ends": True},
    "slots, loose ends, sum": {"repeat_sources": True, "loose_ends": True, "join": "sum", "none_selectable": True},
    "none": {"none_selectable": True},
    "one node": {"none_selectable": True, "inputs": 1, "edges_kept": 3, "concat": [3]},
    "loose ends": {"loose_ends": True, "concat": [0, 2, 3, 4]},
    "sum": {"join": "sum"},
}


def make_cell(names=NAMES, stride=1, **options):
    def factory(name):
        return lambda source, node: OPERATIONS[name](4, stride if source < 2 else 1, affine=True)

    makers = {name: factory(name) if name != "none" else None for name in names}
    return Cell(makers, **{"nodes": 3, "key": "cell", **options}).double()


def cell_spec(cell) -> CellSpec:
    return cell.spec("cell", ())


def images(cell, side=6):
    return torch.randn(cell_spec(cell).inputs, 3, 4, side, side, dtype=torch.float64)


def by_hand(cell, decision, inputs):
    """Compute a cell of a decision as its definition says."""
    spec, states = cell_spec(cell), list(inputs)
    for node, kept in enumerate(decision):
        total = torch.zeros_like(inputs[0])
        for slot, (name, source) in enumerate(kept):
            if name != "none":
                total = total + cell.edges[spec.edge_number(node, slot, source)][name](states[source])
        states.append(total)
    read = {source for kept in decision for name, source in kept if name != "none"} if spec.loose_ends else set()
    shown = [torch.zeros_like(states[s]) if s in read else states[s] for s in spec.concat]
    return torch.cat(shown, 1) if spec.join == "concat" else sum(shown)


def statistics(cell):
    """Return all buffers of a cell in one vector, which takes less to compare."""
    return torch.cat([buffer.double().flatten() for _, buffer in sorted(cell.named_buffers())])


def sparse(spec, decision):
    """Return weights for what is chosen only."""
    weights = [{} for _ in range(spec.n_edges)]
    for node, kept in enumerate(decision):
        for slot, (name, source) in enumerate(kept):
            weights[spec.edge_number(node, slot, source)][name] = torch.ones((), dtype=torch.float64)
    return weights


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("title", FORMS)
def test_decision_weights_and_frozen_cell_agree_with_the_definition(title, mode):
    torch.manual_seed(0)
    original = make_cell(**FORMS[title]).train(mode == "train")
    for module in original.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
    spec, inputs = cell_spec(original), images(original)
    space, start = extract_space(original), copy.deepcopy(original.state_dict())
    expected_cell, *cells = (copy.deepcopy(original) for _ in range(1 + len(EXECUTIONS)))
    for seed in range(3):
        architecture = space.sample(random.Random(seed))
        decision = architecture.decisions["cell"]
        expected_cell.load_state_dict(start)
        expected = by_hand(expected_cell, decision, inputs)
        frozen = freeze(original, architecture)
        torch.testing.assert_close(frozen(*inputs), expected)
        for execution, cell in zip(EXECUTIONS, cells, strict=True):
            cell.execution = execution
            for answer in (decision, sparse(spec, decision), CellWeights(sparse(spec, decision))):
                cell.load_state_dict(start)
                cell.bind(lambda answer=answer: answer)
                torch.testing.assert_close(cell(*inputs), expected)
                torch.testing.assert_close(statistics(cell), statistics(expected_cell))


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_relaxed_weights_of_slots(execution):
    torch.manual_seed(0)
    cell = make_cell(repeat_sources=True, join="sum").eval()
    spec, inputs = cell_spec(cell), images(cell)
    weights = torch.rand(spec.n_edges, len(NAMES), dtype=torch.float64, requires_grad=True)
    strengths = torch.rand(spec.n_edges, dtype=torch.float64)
    cell.execution = execution
    cell.bind(lambda: CellWeights(weights, strengths))
    output = cell(*inputs)
    states = list(inputs)
    for node in range(spec.nodes):
        states.append(
            sum(
                strengths[edge] * weights[edge, number] * module(states[spec.edge_ends[edge][2]])
                for edge in spec.edges_into(node)
                for number, name in enumerate(NAMES)
                if name != "none"
                for module in [cell.edges[edge][name]]
            )
        )
    expected = sum(states[spec.inputs :])
    torch.testing.assert_close(output, expected)
    found, wanted = (torch.autograd.grad(each.square().sum(), weights)[0] for each in (output, expected))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("answer", [torch.ones(9, 4), [torch.ones(4)] * 9, CellWeights(torch.ones(9, 4))])
def test_loose_ends_refuse_weights_of_all_candidates(answer):
    cell = make_cell(loose_ends=True)
    cell.bind(lambda: answer)
    with pytest.raises(SpaceError, match=r"joins only the states that no node reads.*takes a decision, or weights of"):
        cell(*images(cell))


def test_a_state_is_read_where_a_candidate_but_none_has_a_weight():
    torch.manual_seed(0)
    cell, one = make_cell(loose_ends=True, edges_kept=1), torch.ones((), dtype=torch.float64)
    weights = [{} for _ in range(9)]
    weights[0]["skip_connect"] = weights[2]["sep_conv_3x3"] = one  # nodes 0 and 1 read state 0
    weights[7]["none"] = weights[6]["skip_connect"] = one  # node 2 reads state 1, and cuts node 0
    cell.bind(lambda: weights)
    x = images(cell)
    first, second, third = cell(*x).chunk(3, 1)
    assert torch.equal(first, x[0])
    assert torch.equal(third, x[1])
    assert second.abs().sum() > 0


def test_each_slot_has_modules_of_its_own():
    cell = make_cell(names=NAMES[1:], repeat_sources=True, nodes=2)
    assert len(cell.edges) == 2 * 2 + 2 * 3
    sites = [site for site, _ in candidate_sites(nn.ModuleDict({"c": cell}))]
    assert [(site.node, site.slot, site.source) for site in sites[::3]] == list(cell_spec(cell).edge_ends)
    assert len({id(module) for _, module in candidate_sites(cell)}) == 3 * 10
    assert sites[-1].path == "c.edges.9.max_pool_3x3"


def test_transforms_of_the_edges_of_one_slot():
    class Halved(nn.Module):
        def forward(self, x, mixed):
            return mixed(x) / 2

    torch.manual_seed(0)
    cell = make_cell(repeat_sources=True, nodes=1, join="sum").eval()
    inputs = images(cell)
    architecture = extract_space(cell).architecture({"cell": ((("skip_connect", 0), ("skip_connect", 0)),)})
    transform_edges(cell, lambda site: Halved() if site.slot == 1 else None)
    cell.bind(lambda: architecture.decisions["cell"])
    torch.testing.assert_close(cell(*inputs), 1.5 * inputs[0])
    torch.testing.assert_close(freeze(cell, architecture)(*inputs), 1.5 * inputs[0])


def test_names_in_the_frozen_cell():
    cell = make_cell(repeat_sources=True, nodes=1)
    decision = ((("sep_conv_3x3", 0), ("sep_conv_3x3", 0)),)
    frozen = freeze(cell, extract_space(cell).architecture({"cell": decision}))
    assert [name for name, _ in frozen.named_children()] == ["node0_slot0_from0", "node0_slot1_from0"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"none_selectable": True, "stride": 2}, r"'none' may be chosen for node 0, and without nn\.Identity"),
        ({"none_selectable": True, "stride": 2, "repeat_sources": True}, r"without nn\.Identity among its candidates"),
        ({"loose_ends": True, "concat": [2]}, "must name the last state 4"),
        ({"join": "mean"}, "join"),
    ],
)
def test_contradictions_are_told_where_they_are_written(options, says):
    with pytest.raises(SpaceError, match=says):
        make_cell(**options)


def test_a_reduction_cell_may_choose_none_where_a_node_keeps_another_edge():
    edges = [["none", "sep_conv_3x3"], ["sep_conv_3x3"]]
    cell = make_cell(none_selectable=True, nodes=1, stride=2, edge_candidates=edges)
    architecture = extract_space(cell).architecture({"cell": ((("none", 0), ("sep_conv_3x3", 1)),)})
    assert freeze(cell, architecture)(*images(cell)).shape == (3, 4, 3, 3)


def test_states_of_different_shapes_are_not_summed():
    cell = make_cell(join="sum", concat=[0, 2], stride=2)
    for _, _, choice, _ in named_choices(cell):
        choice.bind(lambda: extract_space(cell).sample(random.Random(0)).decisions["cell"])
    with pytest.raises(SpaceError, match="cannot sum states of different shapes: state 0 has"):
        cell(*images(cell))
