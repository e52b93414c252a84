"""Regularized evolution: tournaments, mutations, ages, and what it says of options that do not fit."""

from __future__ import annotations

import json
from collections import Counter

import pytest

import nasreg
from nasreg.cli import main
from nasreg.errors import ConfigError
from nasreg_evolution.config import RegularizedEvolutionConfig
from nasreg_evolution.regularized import RegularizedEvolution


@pytest.fixture
def evolution(make):
    return lambda **options: make(RegularizedEvolution, RegularizedEvolutionConfig(**options))


def test_the_oldest_dies_and_not_the_worst(evolution, step):
    mutator = evolution(population=3, sample=3)
    trials = [step(mutator, value) for value in (9, 1, 2)]
    child = step(mutator, 0)
    assert [trial.id for trial in mutator.population] == [2, 3, 4]
    assert child.proposal.parent in {trial.id for trial in trials}


def test_failed_and_rejected_trials_do_not_make_the_population_smaller(evolution, step):
    mutator = evolution(population=3, sample=1)
    for status in ("done", "failed", "done", "rejected", "done"):
        trial = step(mutator, status=status)
        assert trial.proposal.parent is None
    assert step(mutator, status="failed").proposal.parent is not None
    assert len(mutator.population) == 3


@pytest.mark.parametrize("replacement", [True, False])
def test_a_tournament_draws_with_replacement_or_without(replacement, evolution, step):
    mutator = evolution(population=4, sample=4, replacement=replacement)
    for value in range(4):
        step(mutator, value)
    sizes = Counter(len({trial.id for trial in mutator.tournament()}) for _ in range(200))
    assert (max(sizes), min(sizes)) == ((4, 1) if replacement else (4, 4))
    winner = step(mutator).proposal.parent
    assert replacement or winner == 4  # everybody took part, and the best has won


def changed_edge(one, other):
    edges = [[edge for node in each.decisions["cell"] for edge in node] for each in (one, other)]
    (place,) = [n for n, (a, b) in enumerate(zip(*edges, strict=True)) if a != b]
    return place


@pytest.mark.parametrize(
    ("mutation", "shares"),
    [("by-part", [1 / 3, 1 / 6, 1 / 6, 1 / 9, 1 / 9, 1 / 9]), ("uniform", [1 / 6] * 6)],
)
def test_how_often_a_mutation_changes_each_edge(mutation, shares, evolution):
    mutator = evolution(mutation=mutation)
    parent = mutator.space.sample(mutator.rng)
    found = Counter(changed_edge(parent, mutator.child(parent)) for _ in range(6000))
    assert [found[edge] / 6000 for edge in range(6)] == pytest.approx(shares, abs=0.025)


def test_some_children_are_their_parents(evolution):
    mutator = evolution(identity=0.25)
    parent = mutator.space.sample(mutator.rng)
    equal = sum(mutator.child(parent) == parent for _ in range(2000))
    assert 400 < equal < 600


def test_a_sample_larger_than_the_population_is_refused(tmp_path):
    with pytest.raises(ConfigError) as caught:
        nasreg.search("nasbench201", algorithm="regularized-evolution", mutator={"population": 2}, out=tmp_path / "run")
    assert str(caught.value) == (
        "mutator: sample=3 is more than population=2: a tournament draws members of the population"
    )
    assert not (tmp_path / "run").exists()


def test_what_a_newcomer_types(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["run", "regularized-evolution", "--space", "nasbench201", "--seed", "3", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    for text in ("500 trials", "|nor_conv_3x3~0|", "rank in the table", "regret", "random search", "500 evaluations"):
        assert text in printed
    assert json.loads((out / "status.json").read_text())["metrics"]["accuracy"] > 0.912


def test_children_have_parents_that_were_observed(search_table):
    trials = search_table("regularized-evolution", 30).trials
    assert [trial.get("parent") for trial in trials[:10]] == [None] * 10
    assert all(0 < trial["parent"] < trial["trial"] for trial in trials[10:])
