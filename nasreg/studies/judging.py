"""Tests of differences between algorithms, and whether there are enough runs to tell anything.

Within one problem: Wilcoxon's signed-rank test of each pair, over the seeds that both have, with Holm's correction, and
the effect size of Vargha and Delaney (2000), the chance that a run of the one is better than one of the other. Where
algorithms have other seeds, the test of Mann and Whitney.

Over several: Friedman's test with Nemenyi's critical difference (Demsar, Statistical Comparisons of Classifiers over
Multiple Data Sets, JMLR 7, 2006). Its blocks are problems where there are three or more, else seeds where there are
more than ten: Demsar's rule for the approximation (N > 10). A test over seeds says something about this problem only.
Nemenyi's result for two algorithms depends on the others (Benavoli et al., JMLR 17, 2016), so that the pairs are always
tested, too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from nasreg.studies.protocol import Group
from nasreg.studies.statistics import Array, ranks, score_matrix

ALPHA = 0.05
MIN_PROBLEMS = 3
MIN_SEEDS = 11
"""Blocks of a Friedman test over seeds; see above."""

_EFFECTS = ((0.71, "large"), (0.64, "medium"), (0.56, "small"))
"""Thresholds of Vargha and Delaney."""


@dataclass(frozen=True)
class Pair:
    """The comparison of two algorithms on one problem."""

    one: str
    other: str
    n: int
    """Runs of each; of the fewer."""
    test: str
    p: float
    p_holm: float
    """After Holm's correction for all pairs of the problem."""
    effect: float
    """A12: the chance that a run of ``one`` is better than one of ``other``; a tie is half."""
    difference: float
    """Mean score of ``one`` minus that of ``other``."""

    @property
    def significant(self) -> bool:
        """Whether the scores differ at the level of 0.05."""
        return self.p_holm < ALPHA

    @property
    def effect_size(self) -> str:
        """The effect in a word."""
        distance = 0.5 + abs(self.effect - 0.5)
        return next((word for limit, word in _EFFECTS if distance >= limit), "negligible")


@dataclass(frozen=True)
class Ranking:
    """Friedman's test, and Nemenyi's critical difference of the mean ranks."""

    labels: Sequence[str]
    """The algorithms, the best mean rank first."""
    mean_ranks: Sequence[float]
    blocks: str
    """What was ranked in: problems, or seeds of one."""
    n: int
    """Number of blocks."""
    statistic: float
    p: float
    critical_difference: float
    nemenyi: Mapping[tuple[str, str], float]
    """Pair -> p of Nemenyi's test."""

    @property
    def significant(self) -> bool:
        """Whether the algorithms differ at the level of 0.05."""
        return self.p < ALPHA

    def cliques(self) -> list[tuple[int, int]]:
        """Return the longest stretches of algorithms whose mean ranks differ by less than the critical difference."""
        found: list[tuple[int, int]] = []
        for first in range(len(self.labels)):
            limit = self.mean_ranks[first] + self.critical_difference
            last = max(place for place in range(len(self.labels)) if self.mean_ranks[place] <= limit)
            if last > first and (not found or last > found[-1][1]):
                found.append((first, last))
        return found


@dataclass(frozen=True)
class Judgement:
    """What the tests say of a group."""

    pairs: Sequence[Pair]
    ranking: Ranking | None
    """Over seeds; None with too few of them, or with two algorithms."""
    smallest_p: float
    """The smallest p, after the correction, that any outcome could have had."""

    @property
    def can_tell(self) -> bool:
        """Whether there are enough runs for any difference to be significant."""
        return bool(self.pairs) and self.smallest_p < ALPHA

    def pair(self, one: str, other: str) -> Pair | None:
        """Return the comparison of two algorithms."""
        return next((pair for pair in self.pairs if {pair.one, pair.other} == {one, other}), None)


def judge(group: Group) -> Judgement:
    """Return what the tests say of a group of runs."""
    labels, seeds, matrix = score_matrix(group)
    higher = group.objective.higher_is_better
    scores = {label: np.array([run.score for run in group.of(label)], dtype=np.float64) for label in labels}
    paired = all({run.seed for run in group.of(label)} == set(seeds) for label in labels)
    paired = paired and all(len(scores[label]) == len(seeds) for label in labels)
    raw = []
    for one, other in itertools.combinations(labels, 2):
        a, b = scores[one], scores[other]
        p = wilcoxon(a, b) if paired else mann_whitney(a, b)
        raw.append(
            (one, other, min(len(a), len(b)), p, effect_size(a, b, higher_is_better=higher), a.mean() - b.mean())
        )
    corrected = holm([each[3] for each in raw])
    name = "Wilcoxon" if paired else "Mann-Whitney"
    pairs = [
        Pair(one, other, n, name, p, p_holm, effect, float(difference))
        for (one, other, n, p, effect, difference), p_holm in zip(raw, corrected, strict=True)
    ]
    least = [_smallest_p(len(scores[pair.one]), len(scores[pair.other]), paired=paired) for pair in pairs]
    smallest = min(1.0, len(pairs) * min(least)) if least else 1.0
    ranking = None
    if len(labels) > 2 and len(seeds) >= MIN_SEEDS:
        ranking = rank(labels, matrix, f"seeds on {group.title}", higher_is_better=higher)
    return Judgement(pairs, ranking, smallest)


def rank_problems(groups: Sequence[Group]) -> Ranking | None:
    """Return the ranking over problems, by mean scores; None with too few problems or algorithms that all have."""
    common = [label for label in groups[0].labels if all(group.of(label) for group in groups)] if groups else []
    if len(groups) < MIN_PROBLEMS or len(common) < 3:
        return None
    rows = []
    for group in groups:
        sign = 1 if group.objective.higher_is_better else -1
        rows.append([sign * float(np.mean([run.score for run in group.of(label)])) for label in common])
    return rank(common, np.array(rows), "problems", higher_is_better=True)


def rank(labels: Sequence[str], values: Array, blocks: str, *, higher_is_better: bool) -> Ranking | None:
    """Return Friedman's and Nemenyi's tests of values ``(blocks, algorithms)``; None where all values of it are equal.

    Args:
        labels: The algorithms, three or more.
        values: The values.
        blocks: What the rows are.
        higher_is_better: Direction of the values.
    """
    from scikit_posthocs import posthoc_nemenyi_friedman

    n, k = values.shape
    ranked = ranks(values, higher_is_better=higher_is_better)
    if np.all(ranked == ranked[0, 0]):
        return None
    statistic, p = stats.friedmanchisquare(*ranked.T)
    # Nemenyi's test ranks what it is given, with 1 for the lowest
    matrix = posthoc_nemenyi_friedman(ranked).to_numpy()
    mean = ranked.mean(axis=0)
    order = sorted(range(k), key=lambda number: (mean[number], number))
    return Ranking(
        labels=[labels[number] for number in order],
        mean_ranks=[float(mean[number]) for number in order],
        blocks=blocks,
        n=n,
        statistic=float(statistic),
        p=float(p),
        critical_difference=critical_difference(k, n),
        nemenyi={
            (labels[one], labels[other]): float(matrix[one, other])
            for one, other in itertools.combinations(range(k), 2)
        },
    )


def critical_difference(algorithms: int, blocks: int) -> float:
    """Return Nemenyi's critical difference of mean ranks at the level of 0.05 (Demsar 2006, section 3.2.2)."""
    q = float(stats.studentized_range.ppf(1 - ALPHA, algorithms, math.inf)) / math.sqrt(2)
    return q * math.sqrt(algorithms * (algorithms + 1) / (6 * blocks))


def wilcoxon(one: Array, other: Array) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test; pairs without a difference count half to either side."""
    if np.all(one == other):
        return 1.0
    zeros = bool(np.any(one == other))
    found = stats.wilcoxon(one, other, zero_method="zsplit" if zeros else "wilcox", method="auto")
    return min(1.0, float(found.pvalue))


def mann_whitney(one: Array, other: Array) -> float:
    """Return the two-sided p of the test of Mann and Whitney."""
    if np.all(one == one[0]) and np.all(other == one[0]):
        return 1.0
    return min(1.0, float(stats.mannwhitneyu(one, other, alternative="two-sided").pvalue))


def effect_size(one: Array, other: Array, *, higher_is_better: bool) -> float:
    """Return A12 of Vargha and Delaney: the chance that a value of ``one`` is better than one of ``other``."""
    greater = float(stats.mannwhitneyu(one, other).statistic) / (len(one) * len(other))
    return greater if higher_is_better else 1 - greater


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values after Holm's correction."""
    if not values:
        return []
    from statsmodels.stats.multitest import multipletests  # scikit-posthocs needs it

    return [float(value) for value in multipletests(values, method="holm")[1]]


def _smallest_p(one: int, other: int, *, paired: bool) -> float:
    """Return the smallest two-sided p that the test can have with so many runs."""
    return 2.0 ** (1 - one) if paired else 2 / math.comb(one + other, one)


def seeds_needed(comparisons: int) -> int:
    """Return the number of seeds from which one of so many paired comparisons can be significant."""
    return next(n for n in itertools.count(2) if comparisons * 2.0 ** (1 - n) < ALPHA)
