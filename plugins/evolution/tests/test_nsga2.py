"""NSGA-II: selection by front and crowding, generations, fronts that approach that of the table."""

from __future__ import annotations

import pytest

from nasreg.errors import ConfigError
from nasreg.specs import Front, Score, Trial
from nasreg_evolution.config import Nsga2Config
from nasreg_evolution.nsga2 import Nsga2
from nasreg_nasbench201.table import find_table


@pytest.fixture
def nsga2(make):
    return lambda **options: make(Nsga2, Nsga2Config(**options))


def test_the_next_parents_are_of_the_best_fronts_and_then_of_the_least_crowded_places(nsga2, step):
    mutator = nsga2(population=4)
    first = [step(mutator, score, parameters=cost) for score, cost in ((1, 1), (2, 2), (3, 3), (1, 3))]
    assert [member.trial for member in mutator.parents] == [first[0], first[2], first[1], first[3]]
    assert [member.minus_rank for member in mutator.parents] == [0, 0, 0, -1]
    second = [step(mutator, score, parameters=cost) for score, cost in ((4, 4), (2.1, 2.1), (0, 9), (0, 9))]
    # One front of five, and (0, 9) behind it; (2.1, 2.1) is nearest to its neighbours.
    kept = {member.trial.id for member in mutator.parents}
    assert kept == {first[0].id, first[1].id, first[2].id, second[0].id}


def test_a_lower_score_can_be_the_better_one(nsga2):
    mutator = nsga2(population=2)
    trials = []
    for value in (3.0, 1.0):
        score = Score(value, {"parameters": 1.0}, higher_is_better=False)
        trials.append(Trial(mutator.next_proposal(), "done", score))
        mutator.record(trials[-1])
    assert [member.trial for member in mutator.parents] == trials[::-1]


def test_a_generation_ends_with_its_last_child(nsga2, step):
    mutator = nsga2(population=3)
    proposals = [mutator.next_proposal() for _ in range(3)]
    assert mutator.next_proposal() is None
    mutator.record(Trial(proposals[0], "failed"))
    assert mutator.next_proposal().parent is None  # another random one takes its place
    for proposal in proposals[1:]:
        mutator.record(Trial(proposal, "done", Score(proposal.id, {"parameters": 1.0})))
    assert mutator.next_proposal() is None


def test_a_trial_without_a_cost_is_no_parent(nsga2, step):
    mutator = nsga2(population=2)
    step(mutator, 9)
    step(mutator, 1, parameters=1)
    assert not mutator.parents
    step(mutator, 2, parameters=2)
    assert {member.trial.id for member in mutator.parents} == {2, 3}


@pytest.mark.parametrize(("crossover", "mutation"), [(0, 0), (1, 0), (0, 1)])
def test_children_come_of_crossover_and_mutation(nsga2, step, crossover, mutation):
    mutator = nsga2(population=6, crossover=crossover, mutation=mutation)
    for value in range(6):
        step(mutator, value, parameters=value)
    parents = {trial.architecture.to_json() for trial in (member.trial for member in mutator.parents)}
    children = [mutator.next_proposal().architecture for _ in range(6)]
    new = [child for child in children if child.to_json() not in parents]
    if (crossover, mutation) == (0, 0):
        assert not new
    elif mutation:
        assert len(new) >= 5  # a changed parent may be another one
    nodes = [{member.trial.architecture.decisions["cell"][n] for member in mutator.parents} for n in range(3)]
    if not mutation:
        assert all(child.decisions["cell"][n] in nodes[n] for child in children for n in range(3))


def test_it_comes_near_the_front_of_the_table(search_table):
    result = search_table("nsga2", 600)
    assert [metric.name for metric in result.objectives] == ["parameters"]
    table = find_table("cifar10", 200, None)
    columns = table.columns["accuracy"].tolist(), table.columns["parameters"].tolist()
    true: Front = Front()
    for accuracy, parameters in zip(*columns, strict=True):
        true.add((-accuracy, parameters), (accuracy, parameters))
    found = [(trial["score"], trial["metrics"]["parameters"]) for trial in result.front]
    assert len(found) >= 8
    for accuracy, parameters in true:  # within one percent of accuracy at as many parameters
        assert max((score for score, cost in found if cost <= parameters), default=0) > accuracy - 0.01
    baseline: Front = Front()
    for trial in search_table("random", 600).trials:
        if trial["status"] == "done":
            point = trial["score"], trial["metrics"]["parameters"]
            baseline.add((-point[0], point[1]), point)
    better = sum(any(score >= s and cost <= c for score, cost in found) for s, c in baseline)
    assert better > len(baseline) / 2


def test_two_costs_make_a_front_of_three_objectives(search_table):
    result = search_table("nsga2", 60, mutator={"population": 10, "costs": ["parameters", "latency_ms"]})
    assert [metric.name for metric in result.objectives] == ["parameters", "latency_ms"]
    points = [(-t["score"], t["metrics"]["parameters"], t["metrics"]["latency_ms"]) for t in result.front]
    assert all(
        any(a < b for a, b in zip(one, other, strict=True)) for one in points for other in points if one != other
    )


@pytest.mark.parametrize("costs", [[], ["macs", "macs"]])
def test_costs_that_mean_nothing_are_refused(search_table, costs):
    with pytest.raises(ConfigError, match="must name different costs, one at least") as caught:
        search_table("nsga2", 5, mutator={"costs": costs})
    assert "\n" not in str(caught.value)
