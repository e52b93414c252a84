from __future__ import annotations

import copy
import itertools
import pickle
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nasreg.errors import ArchitectureError, IncompatibleError, SpaceError, UndecidedError
from nasreg.mutators import OneShotMutator
from nasreg.nn import Cell, InputChoice, LayerChoice, Scope, extract_space, freeze, functional_call_tied, named_choices
from nasreg.specs import Architecture, CellSpec, Config, InputChoiceSpec


class Fixed(OneShotMutator):
    """Answers with one architecture's decisions, or with weights that mean the same."""

    def __init__(self, space, architecture, soft=False):
        super().__init__(space, Config())
        self.fixed, self.soft = architecture, soft

    def answer(self, choice):
        decision = self.fixed.decisions[choice.key]
        if not self.soft:
            return decision
        if isinstance(choice, CellSpec):
            weights = [torch.zeros(len(names)) for names in choice.candidates]
            for node, kept in enumerate(decision):
                for operation, source in kept:
                    edge = choice.edges_into(node)[source]
                    weights[edge][choice.candidates[edge].index(operation)] = 1.0
            return weights
        if isinstance(choice, InputChoiceSpec):
            chosen = torch.tensor([float(name in decision) for name in choice.candidates])
            return chosen / max(1, len(decision)) if choice.reduction == "mean" else chosen
        return torch.tensor([float(name == decision) for name in choice.candidates])

    def architecture(self) -> Architecture:
        return self.fixed


def linear(n=3):
    return nn.Linear(n, n)


SHARED = linear()


class Mixed(nn.Module):
    """One of everything, with a repeated cell."""

    def __init__(self, n_chosen=2, reduction="sum"):
        super().__init__()
        self.layer = LayerChoice({"small": linear(), "deep": nn.Sequential(linear(), nn.ReLU(), linear())}, key="layer")
        self.skip = InputChoice(3, n_chosen=n_chosen, reduction=reduction, key="skip")
        ops = {"none": None, "linear": lambda source, node: linear(), "skip": lambda source, node: nn.Identity()}
        self.cells = nn.ModuleList(Cell(ops, inputs=2, nodes=3, key="cell") for _ in range(2))
        self.head = nn.Linear(18, 2)

    def forward(self, x):
        a = self.layer(x)
        b = self.skip([x, a, x * a])
        return self.head(torch.cat([cell(a, b) for cell in self.cells], 1))


def decided(model, architecture, soft=False):
    mutator = Fixed(extract_space(model), architecture, soft)
    mutator.attach(model)
    return model


@settings(max_examples=8)
@given(st.integers(0, 10**6), st.sampled_from([None, 1, 2, 3]), st.sampled_from(["sum", "mean"]))
def test_supernet_decided_supernet_weighted_and_frozen_model_agree(seed, n_chosen, reduction):
    torch.manual_seed(seed)
    model = Mixed(n_chosen, reduction).double()
    architecture = extract_space(model).sample(random.Random(seed))
    x = torch.randn(5, 3, dtype=torch.double)
    discrete = decided(model, architecture)(x)
    torch.testing.assert_close(decided(model, architecture, soft=True)(x), discrete)
    frozen = freeze(model, architecture)
    torch.testing.assert_close(frozen(x), discrete)
    assert not any(type(module).__module__.startswith("nasreg") for module in frozen.modules())
    assert sum(p.numel() for p in frozen.parameters()) < sum(p.numel() for p in model.parameters())
    torch.testing.assert_close(pickle.loads(pickle.dumps(frozen))(x), discrete)
    torch.testing.assert_close(decided(model, architecture)(x), discrete)  # the supernet is as it was


@pytest.mark.parametrize("reduction", ["concat", "none"])
@pytest.mark.parametrize("decision", list(itertools.combinations("012", 2)))
def test_inputs_joined_by_concat_or_not_at_all(reduction, decision):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.choice = InputChoice(3, n_chosen=2, reduction=reduction, key="i")

        def forward(self, x):
            return self.choice([x, x + 1, x + 2])

    model, x = Model(), torch.randn(2, 3)
    architecture = extract_space(model).architecture({"i": decision})
    wanted = [x + int(name) for name in decision]
    for module in (decided(model, architecture), freeze(model, architecture)):
        joined = module(x)
        assert torch.equal(torch.cat(joined, 1) if reduction == "none" else joined, torch.cat(wanted, 1))


def test_inputs_by_name():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = LayerChoice([linear(), linear()], key="a")
            self.choice = InputChoice(choose_from=["x", "a"], key="i")

        def forward(self, x):
            return self.choice({"x": x, "a": self.a(x), "other": None})

    model, x = Model(), torch.randn(2, 3)
    architecture = extract_space(model).architecture({"a": "0", "i": ("x",)})
    assert torch.equal(decided(model, architecture)(x), x)
    assert torch.equal(freeze(model, architecture)(x), x)
    with pytest.raises(SpaceError, match="takes a mapping with x, a"):
        decided(model, architecture).choice([x, x])


def test_no_input_chosen_is_zeros():
    model = nn.ModuleDict({"i": InputChoice(2, n_chosen=None, key="i")})
    architecture = extract_space(model).architecture({"i": ()})
    decided(model, architecture)
    x = torch.ones(2, 3)
    assert torch.equal(model["i"]([x, x]), torch.zeros(2, 3))
    assert torch.equal(freeze(model, architecture)["i"]([x, x]), torch.zeros(2, 3))


@pytest.mark.parametrize("inputs", [torch.ones(2, 3), [torch.ones(2, 3)], {"0": torch.ones(1)}, [torch.ones(2, 3)] * 3])
def test_wrong_inputs_are_refused(inputs):
    choice = InputChoice(2, key="i")
    choice.bind(lambda: ("0",))
    with pytest.raises(SpaceError, match="takes a list of 2 tensors"):
        choice(inputs)


def test_a_model_without_mutator_says_so():
    model = Mixed()
    with pytest.raises(UndecidedError, match=r"LayerChoice 'layer' was called, but nothing decides it.*freeze"):
        model(torch.ones(1, 3))
    architecture = extract_space(model).sample(random.Random(0))
    mutator = Fixed(extract_space(model), architecture)
    mutator.attach(model)
    copied = copy.deepcopy(model)
    model(torch.ones(1, 3))
    with pytest.raises(UndecidedError):
        copied(torch.ones(1, 3))
    mutator.detach(model)
    with pytest.raises(UndecidedError):
        model(torch.ones(1, 3))


def test_keys_scopes_and_groups():
    def block():
        return nn.Sequential(LayerChoice([linear(), linear()], key="conv"), LayerChoice([linear(), linear()]))

    model = nn.Sequential(Scope("a", block()), Scope("b", block()), Scope("a", nn.Sequential(linear())))
    space = extract_space(model)
    assert [choice.key for choice in space.choices] == ["a/conv", "a/0.module.1", "b/conv", "b/1.module.1"]
    assert space.groups == {"a": ("a/conv", "a/0.module.1"), "b": ("b/conv", "b/1.module.1")}
    frozen = freeze(model, space.sample(random.Random(0)))
    assert frozen(torch.ones(1, 3)).shape == (1, 3)
    assert not any(type(module).__module__.startswith("nasreg") for module in frozen.modules())


def test_shared_keys_share_their_decision_and_count_once():
    space = extract_space(Mixed())
    assert [choice.key for choice in space.choices] == ["layer", "skip", "cell"]
    assert space["cell"].paths == ("cells.0", "cells.1")


def test_one_module_in_two_places_stays_one():
    choice = LayerChoice([linear(), linear()], key="a")
    model = nn.Sequential(choice, choice)
    assert len(named_choices(model)) == 2
    frozen = freeze(model, extract_space(model).architecture({"a": "1"}))
    assert frozen[0] is frozen[1]
    with pytest.raises(SpaceError, match="reached under two keys"):
        extract_space(nn.Sequential(Scope("x", choice), Scope("y", choice)))


def test_nested_choices_are_refused():
    inner = LayerChoice([linear(), linear()], key="inner")
    model = nn.Sequential(LayerChoice([nn.Sequential(inner), linear()], key="outer"))
    with pytest.raises(SpaceError, match=r"'outer' has another choice in a candidate .*nested"):
        extract_space(model)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: LayerChoice([]), "no candidates"),
        (lambda: LayerChoice({"a.b": linear()}), "torch cannot hold a module named 'a.b'"),
        (lambda: LayerChoice({"pop": linear()}), "torch cannot hold a module named 'pop'"),
        (lambda: LayerChoice([3]), "'0' is a int, not an nn.Module or its factory"),
        (lambda: LayerChoice({"a": lambda: "conv"}), "factory of 'a' returned a str, not an nn.Module"),
        (lambda: LayerChoice(dict.fromkeys("ab", lambda: SHARED)), "same Linear twice"),
        (lambda: Cell({"a": lambda s, n: 3}, key="c"), "Cell 'c': the factory of 'a' returned a int"),
        (lambda: Cell({"a": lambda s, n: SHARED}), "same Linear twice"),
        (lambda: InputChoice(), "either n_candidates or choose_from"),
        (lambda: InputChoice(2, n_chosen=3), "chooses 3 of only 2"),
        (lambda: InputChoice(0), "candidates"),
        (lambda: InputChoice(2, reduction="max"), "reduction"),
        (lambda: Cell({"a": None}), "no factory for candidate 'a'"),
        (lambda: Cell({"none": None}), "only 0 can carry"),
        (lambda: Cell({"a": lambda s, n: linear()}, concat=[9]), "concat"),
        (lambda: Cell({"a": lambda s, n: linear()}, edge_candidates=[["a"]]), "has 14 edges"),
        (lambda: extract_space(linear()), "Linear has no choice"),
        (
            lambda: extract_space(
                nn.Sequential(LayerChoice([linear()], key="a"), LayerChoice([linear()] * 2, key="a"))
            ),
            "share",
        ),
        (lambda: extract_space(nn.Sequential(LayerChoice([linear()], key="a b"))), "key"),
    ],
)
def test_contradictions_are_told_where_they_are_written(make, says):
    with pytest.raises(SpaceError, match=says) as info:
        make()
    assert "\n" not in str(info.value)


def test_freeze_refuses_an_architecture_of_another_space():
    model = Mixed()
    other = extract_space(nn.Sequential(LayerChoice([linear()], key="x"))).sample(random.Random(0))
    with pytest.raises(ArchitectureError, match="'layer' is missing"):
        freeze(model, other)
    mutator = Fixed(extract_space(model), extract_space(model).sample(random.Random(0)))
    with pytest.raises(IncompatibleError):
        mutator.attach(nn.Sequential(LayerChoice([linear()], key="x")))


def test_cell_takes_as_many_inputs_as_declared():
    cell = Cell({"a": lambda source, node: linear()}, key="c")
    cell.bind(lambda: torch.ones(14, 1))
    with pytest.raises(SpaceError, match="takes 2 inputs, got 1"):
        cell(torch.ones(1, 3))


def test_a_model_is_called_with_other_tensors_and_keeps_its_own():
    shared = nn.BatchNorm2d(2)
    tied = nn.Conv2d(2, 2, 1)
    model = nn.Sequential(shared, tied, shared, nn.Conv2d(2, 2, 1))
    model[3].weight = tied.weight
    own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    names = [*dict(model.named_parameters()), *dict(model.named_buffers())]
    others = {name: own[name] + 1 for name in names}
    expected = copy.deepcopy(model)
    with torch.no_grad():
        for name, tensor in (*expected.named_parameters(), *expected.named_buffers()):
            tensor.copy_(others[name])
    x = torch.randn(4, 2, 3, 3)
    assert torch.equal(functional_call_tied(model, others, x), expected(x))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, own[name]), name
    assert model[0].weight is shared.weight
    assert others["0.num_batches_tracked"] == 3  # moved in the copy: one before, two passes
