"""Architectures derived from softmax weights, for every kind of choice."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nasreg.mutators import SoftmaxMutator, SoftmaxMutatorConfig, derive_cell
from nasreg.specs import NONE, CellSpec, LayerChoiceSpec, RepeatSpec, SearchSpaceSpec, ValueChoiceSpec
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


CELLS = SearchSpaceSpec(
    choices=(
        CellSpec(key="c", inputs=2, nodes=2, candidates=((NONE, "a", "b"),) * 5, edges_kept=2, concat=(2, 3)),
        CellSpec(key="s", inputs=1, nodes=2, candidates=(("a", "b"),) * 6, concat=(1, 2), repeat_sources=True),
        LayerChoiceSpec(key="l", candidates=("a", "b")),
    )
)


def test_edge_weights_are_a_softmax_over_the_edges_into_each_node_or_slot():
    mutator = SoftmaxMutator(CELLS, SoftmaxMutatorConfig(edge_normalization=True, init_std=1.0))
    assert len(list(mutator.parameters())) == 5
    for key, sizes in (("c", (2, 3)), ("s", (1, 1, 2, 2))):
        answer = mutator.answer(CELLS[key])
        parts = torch.split(mutator.beta(key), sizes)
        assert torch.equal(answer.edges, torch.cat([torch.softmax(part, 0) for part in parts]))
        assert torch.equal(answer.candidates, torch.softmax(mutator.alpha(key), 1))
    assert torch.equal(mutator.answer(CELLS["l"]), torch.softmax(mutator.alpha("l"), 0))
    assert mutator.beta("l") is None


def test_edges_are_derived_and_shown_by_the_product_of_both_weights():
    mutator = SoftmaxMutator(CELLS, SoftmaxMutatorConfig(edge_normalization=True))
    mutator.alpha("c").data = torch.tensor([[0.0, 1, 0], [9, 0, 0], [0, 3, 0], [0, 0, 2], [0, 1, 0]])
    mutator.beta("c").data = torch.tensor([0.0, 9, 0, 0, 4])
    # Without the betas, the edge from state 0 would come first in the first node, that from state 1 in the second.
    assert mutator.decide(CELLS["c"]) == ((("a", 1), ("a", 0)), (("a", 2), ("a", 0)))
    edges = mutator.edge_weights(CELLS["c"])
    best = torch.softmax(mutator.alpha("c"), 1)[:, 1:].amax(1)
    assert mutator.strengths()["c"] == pytest.approx((best * edges).tolist())
    assert sum(mutator.weights()["c"][0].values()) == pytest.approx(1)


class Sampled(SoftmaxMutator):
    """Answers with one candidate of each edge."""

    def candidate_weights(self, choice):
        one = torch.tensor(1.0)
        return [{names[0]: one} for names in choice.rows] if isinstance(choice, CellSpec) else {"b": one}


def test_edge_weights_and_noise_are_added_to_samples_of_candidates():
    mutator = Sampled(CELLS, SoftmaxMutatorConfig(edge_normalization=True))
    assert mutator.answer(CELLS["c"]).candidates == [{NONE: torch.tensor(1.0)}] * 5
    assert torch.equal(mutator.answer(CELLS["c"]).edges, mutator.edge_weights(CELLS["c"]))
    with mutator.perturbed(0.1):
        answers = mutator.answer(CELLS["c"]).candidates
        assert all(0 < abs(row[NONE].item() - 1) <= 0.1 for row in answers)
        assert 0 < abs(mutator.answer(CELLS["l"])["b"].item() - 1) <= 0.1


def test_noise_is_drawn_once_and_touches_neither_architecture_nor_reports():
    mutator = SoftmaxMutator(CELLS, SoftmaxMutatorConfig())
    plain, records, architecture = mutator.answer(CELLS["c"]), mutator.weights(), mutator.architecture()
    with mutator.perturbed(0.5):
        noisy = mutator.answer(CELLS["c"])
        assert torch.equal(noisy, mutator.answer(CELLS["c"]))
        assert 0.1 < (noisy - plain).abs().max() <= 0.5
        assert (mutator.weights(), mutator.architecture()) == (records, architecture)
        [gradient] = torch.autograd.grad(noisy[:, 1].sum(), [mutator.alpha("c")])
    assert torch.equal(mutator.answer(CELLS["c"]), plain)
    assert torch.equal(gradient, torch.autograd.grad(plain[:, 1].sum(), [mutator.alpha("c")])[0])
    state = torch.get_rng_state()
    with mutator.perturbed(0.0):
        assert torch.equal(mutator.answer(CELLS["c"]), plain)
    assert torch.equal(state, torch.get_rng_state())
