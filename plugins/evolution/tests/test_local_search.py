"""Local search: climbs, local optima, restarts; no architecture twice."""

from __future__ import annotations

import pytest
from torch import nn

import nasreg
from nasreg.nn import LayerChoice
from nasreg.specs import Score, Trial
from nasreg_evolution.config import LocalSearchConfig
from nasreg_evolution.local_search import LocalSearch


def key(trial):
    return str(trial["architecture"])


def neighbours(space, trial):
    return {str(each.decisions) for each in space.neighbours(space.architecture(trial["architecture"]))}


@pytest.fixture
def local(make):
    return lambda **options: make(LocalSearch, LocalSearchConfig(**options))


@pytest.mark.parametrize("improvement", ["best", "first"])
def test_each_climb_is_over_neighbours_and_ends_at_a_local_optimum(search_table, improvement):
    result = search_table("local-search", 400, mutator={"improvement": improvement})
    assert len({key(trial) for trial in result.trials}) == 400
    by_id = {trial["trial"]: trial for trial in result.trials}
    starts = [trial for trial in result.trials if "parent" not in trial]
    assert len(starts) > 2
    for trial in result.trials:
        if "parent" in trial:
            assert str(result.space.architecture(trial["architecture"]).decisions) in neighbours(
                result.space, by_id[trial["parent"]]
            )
    for start in starts[1:]:  # before it the whole neighbourhood was evaluated, and nothing new in it was better
        last = by_id[by_id[start["trial"] - 1]["parent"]]
        evaluated = {str(result.space.architecture(each["architecture"]).decisions): each for each in result.trials}
        around = [evaluated[each] for each in neighbours(result.space, last)]
        assert all(each["trial"] < start["trial"] for each in around)
        new = [each for each in around if each.get("parent") == last["trial"]]
        assert max(each["score"] for each in new) <= last["score"]


def test_best_moves_after_the_whole_neighbourhood_and_first_at_once(local, step):
    for improvement, moves_after in (("best", 24), ("first", 1)):
        mutator = local(improvement=improvement)
        start = step(mutator, 0)
        parents = [step(mutator, value).proposal.parent for value in range(1, 30)]
        assert parents[:moves_after] == [start.id] * moves_after
        # best: the last and highest of the 24; first: the one before
        assert parents[moves_after] == 25 if improvement == "best" else parents[1:4] == [2, 3, 4]


def test_a_climb_begins_at_the_best_of_some_random_architectures(local, step):
    mutator = local(initial=5)
    starts = [step(mutator, value) for value in (1, 4, 2, 3, 0)]
    assert all(trial.proposal.parent is None for trial in starts)
    assert step(mutator, 0).proposal.parent == starts[1].id


def test_it_waits_for_the_trials_on_which_the_next_step_depends(local):
    mutator = local(initial=2)
    first, second = mutator.next_proposal(), mutator.next_proposal()
    assert mutator.next_proposal() is None
    mutator.record(Trial(first, "done", Score(1.0)))
    assert mutator.next_proposal() is None
    mutator.record(Trial(second, "failed"))
    assert mutator.next_proposal().parent == first.id


def test_failed_trials_end_a_climb_as_worse_ones_do(local, step):
    mutator = local(improvement="first")
    step(mutator, 1)
    statuses = [step(mutator, 0, status).proposal.parent for status in ["failed", "rejected"] * 12]
    assert statuses == [1] * 24
    assert step(mutator).proposal.parent is None


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(
            LayerChoice(
                {str(width): nn.Sequential(nn.Linear(64, width), nn.Linear(width, 10)) for width in (1, 2, 3)},
                key=f"layer{n}",
            )
            for n in range(2)
        )

    def forward(self, x):
        return sum(layer(x.flatten(1)) for layer in self.layers)


@pytest.mark.slow
def test_a_space_that_is_used_up_ends_the_search():
    options = {"dataset_options": {"limit": 64}, "evaluator_options": {"epochs": 1}, "trainer": {"max_trials": 50}}
    result = nasreg.search(Net, "digits", "local-search", seed=1, device="cpu", **options)
    assert len(result.trials) == 9
    assert len({key(trial) for trial in result.trials}) == 9


def test_architectures_that_the_user_gives_are_not_evaluated_again(search_table):
    given = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
    result = search_table("local-search", 60, trainer={"initial": [given]})
    assert len({key(trial) for trial in result.trials}) == 60
    assert result.trials[1].get("parent") is None or result.trials[1]["parent"] == 1
