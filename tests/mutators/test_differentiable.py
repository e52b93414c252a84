"""Architectures derived from softmax weights, for every kind of choice."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from nasreg.mutators import SoftmaxMutator, SoftmaxMutatorConfig, derive_cell
from nasreg.specs import NONE, CellSpec, RepeatSpec, SearchSpaceSpec, ValueChoiceSpec
from space_strategies import spaces


@given(spaces(), st.integers(0, 2**32))
def test_every_space_has_a_derived_architecture_and_records(space, seed):
    torch.manual_seed(seed)
    mutator = SoftmaxMutator(space, SoftmaxMutatorConfig(init_std=1.0))
    architecture = mutator.architecture()
    space.validate(architecture)
    records, strengths = mutator.weights(), mutator.strengths()
    for choice in space.choices:
        rows, decision = records[choice.key], architecture.decisions[choice.key]
        assert tuple(tuple(row) for row in rows) == choice.rows
        if isinstance(choice, ValueChoiceSpec | RepeatSpec):
            assert rows[0][str(decision)] == max(rows[0].values()) == strengths[choice.key][0]
        if isinstance(choice, CellSpec):
            check_strongest(choice, rows, decision, strengths[choice.key])


def check_strongest(cell, rows, decision, strengths):
    kept = {
        cell.edge_number(node, slot, source): name
        for node, edges in enumerate(decision)
        for slot, (name, source) in enumerate(edges)
    }
    for edge, (row, strength) in enumerate(zip(rows, strengths, strict=True)):
        selectable = [row[name] for name in cell.selectable(edge)]
        assert strength == max(selectable, default=0.0)
        assert edge not in kept or row[kept[edge]] == strength
    for node in range(cell.nodes):
        for slot in range(cell.slots(node)):
            edges = [edge for edge in cell.slot_edges(node, slot) if cell.selectable(edge)]
            left_out = [strengths[edge] for edge in edges if edge not in kept]
            assert all(strengths[edge] >= max(left_out, default=0.0) for edge in edges if edge in kept)


def test_none_is_derived_only_where_it_can_be_chosen():
    weights = [[0.9, 0.1], [0.2, 0.8]]
    for none_selectable, decision in ((False, (("a", 1), ("a", 0))), (True, ((NONE, 0), ("a", 1)))):
        cell = CellSpec(
            key="c", inputs=2, nodes=1, candidates=((NONE, "a"),) * 2, concat=(2,), none_selectable=none_selectable
        )
        assert derive_cell(cell, weights) == (decision,)


def test_each_slot_keeps_its_own_strongest_edge():
    cell = CellSpec(key="c", inputs=2, nodes=1, candidates=(("a", "b"),) * 4, concat=(2,), repeat_sources=True)
    weights = [[0.5, 0.5], [0.1, 0.9], [0.5, 0.5], [0.7, 0.3]]
    assert derive_cell(cell, weights) == ((("b", 1), ("a", 1)),)


def test_values_keep_their_type():
    space = SearchSpaceSpec(
        choices=(ValueChoiceSpec(key="v", values=(1, 2.0, "3")), RepeatSpec(key="r", depths=(0, 4)))
    )
    mutator = SoftmaxMutator(space, SoftmaxMutatorConfig())
    for best, expected in enumerate((1, 2.0, "3")):
        mutator.alpha("v").data = torch.nn.functional.one_hot(torch.tensor(best), 3).double()
        mutator.alpha("r").data = torch.tensor([0.0, 1.0])
        decisions = mutator.architecture().decisions
        assert decisions == {"v": expected, "r": 4}
        assert type(decisions["v"]) is type(expected)
