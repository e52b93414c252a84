"""Large-scale evolution: small first members, kinds of mutations, tournaments of two, learning rates and weights."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

import nasreg
from nasreg.specs import Score, Trial
from nasreg_evolution.config import LargeScaleEvolutionConfig
from nasreg_evolution.large_scale import LargeScaleEvolution

CHAIN = {"blocks": 4, "widths": [8, 16, 32], "kernels": [1, 3, 5]}


@pytest.fixture
def evolution(make):
    def made(space="elastic-chain", space_options=None, **options):
        given = CHAIN if space == "elastic-chain" else space_options
        return make(LargeScaleEvolution, LargeScaleEvolutionConfig(**options), space, given)

    return made


def test_it_begins_with_the_smallest_networks(evolution, step):
    mutator = evolution(population=3)
    for _ in range(3):
        trial = step(mutator)
        decisions = trial.architecture.decisions
        assert (decisions["depth"], decisions["width0"], decisions["kernel0"], decisions["stride0"]) == (1, 8, 1, 1)
        assert trial.proposal.options == {"lr": 0.1}
    mutator = evolution(population=20, initial="random", lr=None)
    trials = [step(mutator) for _ in range(20)]
    assert len({trial.architecture.decisions["depth"] for trial in trials}) > 1
    assert not any(trial.proposal.options for trial in trials)


def test_the_worse_of_two_dies(evolution, step):
    mutator = evolution(population=2)
    step(mutator, 1)
    best = step(mutator, 2)
    child = step(mutator, 3)
    assert child.proposal.parent == best.id
    assert [trial.id for trial in mutator.population] == [best.id, child.id]


def test_a_member_whose_child_fails_is_replaced_by_another_child(evolution, step):
    mutator = evolution(population=3)
    for value in range(3):
        step(mutator, value)
    assert step(mutator, status="failed").proposal.parent is not None
    assert len(mutator.population) == 2
    assert step(mutator, 5).proposal.parent is not None
    assert len(mutator.population) == 3


def test_with_nobody_left_it_begins_again_or_waits(evolution):
    mutator = evolution(population=2)
    first, second = mutator.next_proposal(), mutator.next_proposal()
    assert mutator.next_proposal() is None
    mutator.record(Trial(first, "done", Score(1.0)))
    assert mutator.next_proposal() is None
    mutator.record(Trial(second, "failed"))
    assert mutator.next_proposal().parent == first.id


def test_the_kinds_of_mutations_are_those_that_have_an_effect(evolution):
    mutator = evolution()
    small = mutator.first()
    kinds = mutator.kinds(small)
    assert list(kinds) == ["identity", "reset weights", "learning rate", "depth", "width", "kernel", "stride"]
    assert [choice.key for choice in kinds["width"]] == ["width0"]
    deep = mutator.space.architecture({**small.decisions, "depth": 3})
    kinds = mutator.kinds(deep)
    assert [choice.key for choice in kinds["width"]] == ["width0", "width1", "width2"]
    assert [choice.key for choice in kinds["skips"]] == ["skips1", "skips2"]
    assert "learning rate" not in evolution(lr=None).kinds(deep)


@pytest.mark.parametrize("space", ["darts", "chain"])
def test_other_spaces_have_kinds_of_their_own(evolution, space):
    mutator = evolution(space, {"blocks": 3} if space == "chain" else {})
    kinds = set(mutator.kinds(mutator.first()))
    assert kinds > {"identity", "reset weights", "learning rate"}
    assert {"normal", "reduce"} <= kinds if space == "darts" else len(kinds) > 3


def test_what_each_mutation_does(evolution, step):
    mutator = evolution(population=2, lr_factor=2.0)
    step(mutator, 1)
    parent = step(mutator, 2)
    parent = Trial(parent.proposal, "done", Score(2.0))
    found = Counter()
    for _ in range(400):
        child = mutator.child(parent)
        before, after = parent.architecture.decisions, child.architecture.decisions
        changed = [key for key in before if before[key] != after[key]]
        rate, fresh = child.options["lr"], child.options.get("inherit_weights")
        assert child.parent == parent.id
        assert (len(changed) == 1) + (rate != 0.1) + (fresh is False) <= 1
        assert 0.05 <= rate <= 0.2
        found[changed[0] if changed else "lr" if rate != 0.1 else "reset" if fresh is False else "identity"] += 1
        if changed == ["width0"]:
            assert after["width0"] == 16  # the next number, not any
    assert set(found) == {"depth", "width0", "kernel0", "stride0", "lr", "reset", "identity"}
    assert all(30 < count < 90 for count in found.values())  # 400 / 7 each


def test_learning_rates_are_inherited_and_drift(evolution, step):
    mutator = evolution(population=5)
    trials = [step(mutator, value) for value in range(300)]
    rates = {trial.id: trial.proposal.options["lr"] for trial in trials}
    for trial in trials[5:]:
        ratio = rates[trial.id] / rates[trial.proposal.parent]
        assert 0.5 <= ratio <= 2
    assert len(set(rates.values())) > 20
    assert all(math.isfinite(rate) and rate > 0 for rate in rates.values())


@pytest.mark.slow
def test_children_start_from_the_weights_of_their_parents(tmp_path):
    out = tmp_path / "run"
    result = nasreg.search(
        "elastic-chain",
        "digits",
        "large-scale-evolution",
        space_options={"blocks": 2, "widths": [8, 16]},
        mutator={"population": 3},
        trainer={"max_trials": 20},
        evaluator_options={"epochs": 1},
        dataset_options={"limit": 400},
        seed=0,
        device="cpu",
        out=out,
    )

    def weights(trial):
        return torch.load(out / f"trials/{trial:06}/weights.pt", weights_only=True)

    children = [trial for trial in result.trials if "parent" in trial]
    before = {trial["trial"]: trial["options"]["lr"] for trial in result.trials}
    assert any(trial["options"]["lr"] != before[trial["parent"]] for trial in children)
    kept = [trial for trial in children if "inherit_weights" not in trial["options"]]
    fresh = [trial for trial in children if trial["options"].get("inherit_weights") is False]
    assert kept
    assert fresh
    assert weights(fresh[0]["trial"])  # its children can start from them

    def distance(trial):
        ours, theirs = weights(trial["trial"]), weights(trial["parent"])
        shared = [name for name in ours if name in theirs and ours[name].shape == theirs[name].shape]
        same = [name for name in shared if name.endswith("weight") and ours[name].ndim == 4]
        return max((float((ours[name] - theirs[name]).abs().max()) for name in same), default=0.0)

    # one epoch moves inherited weights less than a new start does
    assert min(map(distance, kept)) < min(map(distance, fresh))
