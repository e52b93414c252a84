"""Statistics equal figures computed by hand, by the definition, or in the cited papers."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from nasreg.specs import MetricSpec
from nasreg.studies.collection import Point, RunRecord
from nasreg.studies.judging import (
    critical_difference,
    effect_size,
    holm,
    judge,
    mann_whitney,
    rank,
    rank_problems,
    seeds_needed,
    wilcoxon,
)
from nasreg.studies.protocol import Group
from nasreg.studies.statistics import bootstrap_interval, curves, rank_curves, ranks, summarize
from nasreg.studies.wording import group_sentence, strength_note, summary_sentence

ACCURACY = MetricSpec(name="accuracy", title="accuracy", unit="%")
COST = MetricSpec(name="cost", title="cost", higher_is_better=False)


def group(scores: dict[str, list[float]], metric: MetricSpec = ACCURACY, title: str = "toy", curve=()) -> Group:
    """Return runs with these scores."""
    runs = [
        RunRecord(Path(), label, title, seed, "done", objective=metric, score=score, curve=curve)
        for label, values in scores.items()
        for seed, score in enumerate(values)
    ]
    return Group(title, metric, runs, ())


def test_a_summary_by_hand():
    found = summarize([1.0, 2.0, 3.0, 4.0, 10.0, 12.0, 13.0, 100.0])
    assert (found.n, found.mean, found.median, found.low, found.high) == (8, 18.125, 7.0, 1.0, 100.0)
    assert found.iqm == (3 + 4 + 10 + 12) / 4
    assert found.std == pytest.approx(np.std([1, 2, 3, 4, 10, 12, 13, 100], ddof=1))
    assert found.sem == pytest.approx(found.std / 8**0.5)


def test_a_single_value_has_no_spread():
    found = summarize([0.5])
    assert (found.mean, found.iqm, found.std, found.sem, found.interval) == (0.5, 0.5, None, None, None)


def test_the_bootstrap_interval_is_that_of_the_mean():
    values = np.random.default_rng(1).normal(5, 2, 400)
    low, high = bootstrap_interval(values)
    z = 1.96 * values.std() / 20
    assert (low, high) == (pytest.approx(values.mean() - z, abs=0.02), pytest.approx(values.mean() + z, abs=0.02))
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval(np.array([3.0, 3.0])) == (3.0, 3.0)


def test_the_effect_size_is_a_share_of_pairs():
    one, other = np.array([1.0, 4.0, 4.0, 7.0]), np.array([2.0, 4.0, 5.0])
    pairs = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(one, other)]
    assert effect_size(one, other, higher_is_better=True) == pytest.approx(np.mean(pairs))
    assert effect_size(one, other, higher_is_better=False) == pytest.approx(1 - np.mean(pairs))


def test_holms_correction_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_wilcoxons_test_by_its_distribution():
    one = np.array([1.1, 2.3, 3.2, 4.7, 5.6, 6.8])
    # all six differences have one sign: 2 of the 64 assignments of signs are as extreme
    assert wilcoxon(one, np.zeros(6)) == pytest.approx(2 / 64)
    assert wilcoxon(one, one) == 1.0
    assert 0 < wilcoxon(one, np.array([1.1, 0, 0, 0, 0, 0])) <= 1


def test_the_test_of_mann_and_whitney_by_its_distribution():
    assert mann_whitney(np.array([1.0, 2, 3]), np.array([4.0, 5, 6])) == pytest.approx(2 / 20)
    assert mann_whitney(np.ones(3), np.ones(4)) == 1.0


def test_the_critical_difference_of_the_paper():
    """Demsar (2006): 4 classifiers on 14 data sets have CD 1.25; for 10 the q of 0.05 is 3.164."""
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert critical_difference(10, 30) == pytest.approx(3.164 * (10 * 11 / 180) ** 0.5, abs=0.002)


def test_friedman_and_nemenyi():
    values = np.random.default_rng(0).normal(size=(15, 4)) + np.arange(4)
    found = rank(list("abcd"), values, "seeds", higher_is_better=True)
    assert found.labels[0] == "d"
    assert found.labels[-1] == "a"
    expected = stats.friedmanchisquare(*values.T)
    assert (found.statistic, found.p) == (pytest.approx(expected.statistic), pytest.approx(expected.pvalue))
    means = dict(zip(found.labels, found.mean_ranks, strict=True))
    by_hand = stats.rankdata(-values, axis=1).mean(axis=0)
    assert [means[label] for label in "abcd"] == pytest.approx(by_hand)
    for (one, other), p in found.nemenyi.items():
        # the two forms of the test agree, by the studentized range
        assert (abs(means[one] - means[other]) > found.critical_difference) == (p < 0.05)
    for first, last in found.cliques():
        assert found.mean_ranks[last] - found.mean_ranks[first] <= found.critical_difference


def test_equal_values_share_their_rank():
    assert ranks(np.array([[3.0, 1.0, 3.0]]), higher_is_better=True).tolist() == [[1.5, 3.0, 1.5]]
    assert ranks(np.array([[3.0, 1.0, 3.0]]), higher_is_better=False).tolist() == [[2.5, 1.0, 2.5]]
    assert rank(["a", "b", "c"], np.ones((12, 3)), "seeds", higher_is_better=True) is None


@pytest.mark.parametrize(("comparisons", "seeds"), [(1, 6), (3, 7), (6, 8), (15, 10)])
def test_with_too_few_seeds_no_outcome_is_significant(comparisons, seeds):
    assert seeds_needed(comparisons) == seeds
    one, other = np.arange(seeds, dtype=float) + 1, np.zeros(seeds)
    assert comparisons * wilcoxon(one, other) < 0.05
    assert comparisons * wilcoxon(one[:-1], other[:-1]) >= 0.05


def test_a_judgement_says_when_nothing_can_be_told():
    few = group({"a": [0.9, 0.8, 0.85], "b": [0.1, 0.2, 0.15]})
    found = judge(few)
    assert not found.can_tell
    assert found.smallest_p == 0.25
    assert "too few to tell whether it is better than b" in group_sentence(few, found)
    assert strength_note(few, found).startswith("3 seeds cannot tell algorithms apart")
    assert "6 seeds can" in strength_note(few, found)
    enough = group({"a": list(np.linspace(0.8, 0.9, 8)), "b": list(np.linspace(0.1, 0.2, 8))})
    assert judge(enough).can_tell
    assert strength_note(enough, judge(enough)) == ""
    assert "significantly better than b (Wilcoxon, Holm: p ≤ 0.008)" in group_sentence(enough, judge(enough))


def test_the_direction_of_the_metric_counts():
    scores = {"a": list(np.linspace(0.8, 0.9, 12)), "b": list(np.linspace(0.1, 0.2, 12))}
    assert group_sentence(group(scores), judge(group(scores))).startswith("a has the best mean accuracy")
    costs = group(scores, COST)
    assert group_sentence(costs, judge(costs)).startswith("b has the best mean cost")
    [pair] = judge(costs).pairs
    assert (pair.effect, pair.effect_size) == (0.0, "large")


def test_other_seeds_are_compared_without_pairs():
    found = judge(group({"a": [0.1, 0.2, 0.3, 0.4], "b": [0.5, 0.6, 0.7]}))
    assert found.pairs[0].test == "Mann-Whitney"
    assert found.pairs[0].p == pytest.approx(2 / 35)


def test_equal_means_have_no_winner():
    same = group({"a": [0.5, 0.6], "b": [0.6, 0.5]})
    assert group_sentence(same, judge(same)) == "a and b reach the same mean accuracy on toy: 55.0% ± 7.1%."


def test_a_ranking_over_seeds_needs_more_than_ten():
    rng = np.random.default_rng(0)

    def made(seeds: int) -> Group:
        return group({name: list(rng.normal(place, 0.1, seeds)) for place, name in enumerate("abc")})

    assert judge(made(10)).ranking is None
    found = judge(made(11)).ranking
    assert (found.n, found.labels) == (11, ["c", "b", "a"])


def test_a_ranking_over_problems_needs_three():
    groups = [group({"a": [0.1 + n], "b": [0.2 + n], "c": [0.3 + n]}, title=f"p{n}") for n in range(4)]
    assert rank_problems(groups[:2]) is None
    found = rank_problems(groups)
    assert (found.n, found.labels, found.mean_ranks) == (4, ["c", "b", "a"], [1.0, 2.0, 3.0])
    text = summary_sentence(groups, found)
    assert text.startswith("Over 4 problems c has the best mean rank (1.00), significantly better than a")
    assert text.endswith("; not significantly better than b.")


def test_curves_are_means_of_step_functions():
    one = (Point(1, 1.0, 0.1), Point(3, 3.0, 0.5), Point(4, 4.0, 0.5))
    other = (Point(2, 2.0, 0.3), Point(4, 4.0, 0.3))
    runs = [
        RunRecord(Path(), "a", "toy", seed, "done", objective=ACCURACY, score=curve[-1].value, curve=curve)
        for seed, curve in enumerate([one, other])
    ]
    found = curves(Group("toy", ACCURACY, runs, ()), "evaluations")["a"]
    assert found.x.tolist() == [2.0, 3.0, 4.0]  # from where both have a score
    assert found.mean == pytest.approx([0.2, 0.4, 0.4])
    assert np.all(found.low <= found.mean)
    assert np.all(found.mean <= found.high)
    timed = curves(Group("toy", ACCURACY, runs, ()), "seconds")["a"]
    assert (timed.x[0], timed.x[-1], timed.mean[-1]) == (2.0, 4.0, pytest.approx(0.4))
    assert curves(Group("toy", ACCURACY, runs, ()), "seconds", simulated=True) == {}


def test_ranks_over_time_follow_the_best_so_far():
    early = (Point(1, 1.0, 0.5), Point(4, 4.0, 0.5))
    late = (Point(1, 1.0, 0.1), Point(3, 3.0, 0.9), Point(4, 4.0, 0.9))
    runs = [
        RunRecord(Path(), label, "toy", 0, "done", objective=ACCURACY, score=curve[-1].value, curve=curve)
        for label, curve in (("early", early), ("late", late))
    ]
    x, found = rank_curves(Group("toy", ACCURACY, runs, ()))
    assert x.tolist() == [1, 2, 3, 4]
    assert found["early"].tolist() == [1, 1, 2, 2]
