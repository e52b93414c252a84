"""Statistics of a group of runs: summaries with intervals, the best so far over a budget, mean ranks.

Summaries and bootstrap intervals as Agarwal et al. recommend for few runs (arXiv 2108.13264): the interquartile mean
beside mean and median, and percentile bootstrap intervals. The tests of differences are in ``judging``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from nasreg.studies.collection import Point, RunRecord
from nasreg.studies.protocol import Group

LEVEL = 0.95
"""Confidence level of the intervals."""
RESAMPLES = 9_999
CURVE_RESAMPLES = 1_000
MAX_POINTS = 200
"""Points of a curve."""

Array = np.ndarray[Any, np.dtype[np.float64]]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Summary:
    """The values of an algorithm, one for each seed."""

    n: int
    mean: float
    std: float | None
    """Sample standard deviation (n - 1); None for a single value, as all measures of spread."""
    sem: float | None
    """Standard error of the mean."""
    interval: Interval | None
    """Bootstrap interval of the mean."""
    median: float
    iqm: float
    """Interquartile mean: that of the middle half of the values."""
    iqm_interval: Interval | None
    low: float
    high: float


def summarize(values: Sequence[float]) -> Summary:
    """Return the summary of values, one at least."""
    array = np.asarray(values, dtype=np.float64)
    several = len(array) > 1
    std = float(array.std(ddof=1)) if several else None
    return Summary(
        n=len(array),
        mean=float(array.mean()),
        std=std,
        sem=None if std is None else std / math.sqrt(len(array)),
        interval=bootstrap_interval(array) if several else None,
        median=float(np.median(array)),
        iqm=interquartile_mean(array),
        iqm_interval=bootstrap_interval(array, "iqm") if several else None,
        low=float(array.min()),
        high=float(array.max()),
    )


def interquartile_mean(values: Array, axis: int = 0) -> Any:
    """Return the mean without the lowest and the highest quarter of the values."""
    found = stats.trim_mean(values, 0.25, axis=axis)
    return float(found) if np.ndim(found) == 0 else found


def bootstrap_interval(values: Array, what: Literal["mean", "iqm"] = "mean") -> Interval:
    """Return the percentile bootstrap interval of the mean or the interquartile mean; the same for the same values."""
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    statistic = np.mean if what == "mean" else interquartile_mean
    found = stats.bootstrap(
        (values,),
        statistic,
        n_resamples=RESAMPLES,
        confidence_level=LEVEL,
        method="percentile",
        vectorized=True,
        batch=max(1, 2_000_000 // len(values)),
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


@dataclass(frozen=True)
class Curve:
    """The best so far of an algorithm: mean over the seeds and its bootstrap interval, at points of the budget."""

    x: Array
    mean: Array
    low: Array
    high: Array


Axis = Literal["evaluations", "seconds"]


def curves(group: Group, axis: Axis, *, simulated: bool | None = None) -> dict[str, Curve]:
    """Return the curve of each algorithm whose runs have one, from the moment at which each of its runs has a score.

    Args:
        group: The runs.
        axis: What the budget is measured in.
        simulated: Only runs whose time is simulated, or only those whose time was measured; None for all.
    """
    found = {}
    for label in group.labels:
        runs = [run for run in group.of(label) if len(run.curve) > 1]
        if simulated is not None:
            runs = [run for run in runs if (run.simulated is not None) == simulated]
        if not runs or (axis == "evaluations" and any(run.one_shot for run in runs)):
            continue
        x = _grid(runs, axis)
        values = np.stack([_sampled(run.curve, x, axis) for run in runs])
        found[label] = _curve(x, values)
    return found


def _grid(runs: Sequence[RunRecord], axis: Axis) -> Array:
    """Return the points of the budget: from where the last run has a score to where the first run ends."""
    first = max(getattr(run.curve[0], axis) for run in runs)
    last = max(first, min(getattr(run.curve[-1], axis) for run in runs))
    if axis == "evaluations":
        return np.unique(np.linspace(first, last, min(MAX_POINTS, int(last - first) + 1)).round())
    return np.linspace(first, last, MAX_POINTS) if last > first else np.array([first])


def _sampled(curve: Sequence[Point], x: Array, axis: Axis) -> Array:
    """Return the best so far at points of the budget; the curve is a step function."""
    steps = np.array([getattr(point, axis) for point in curve], dtype=np.float64)
    values = np.array([point.value for point in curve], dtype=np.float64)
    return values[np.maximum(np.searchsorted(steps, x, side="right") - 1, 0)]


def _curve(x: Array, values: Array) -> Curve:
    """Return mean and interval of values ``(runs, points)``; all resamples are one product of matrices."""
    mean = values.mean(axis=0)
    n = len(values)
    if n == 1:
        return Curve(x, mean, mean, mean)
    counts = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), CURVE_RESAMPLES)
    low, high = np.quantile(counts @ values / n, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return Curve(x, mean, low, high)


def score_matrix(group: Group) -> tuple[list[str], list[int], Array]:
    """Return the algorithms, the seeds that all of them have, and the scores ``(seeds, algorithms)``.

    An algorithm without a result is left out.
    """
    labels = [label for label in group.labels if group.of(label)]
    by_seed = {label: {run.seed: run for run in group.of(label)} for label in labels}
    common = sorted(set.intersection(*(set(each) for each in by_seed.values()))) if labels else []
    rows = [[by_seed[label][seed].score for label in labels] for seed in common]
    return labels, common, np.array(rows, dtype=np.float64).reshape(len(common), len(labels))


def ranks(values: Array, *, higher_is_better: bool) -> Array:
    """Return the ranks in each row, 1 for the best; equal values share the mean of their ranks."""
    return np.asarray(stats.rankdata(-values if higher_is_better else values, axis=-1), dtype=np.float64)


def rank_curves(group: Group) -> tuple[Array, dict[str, Array]]:
    """Return numbers of evaluations, and the mean rank of each multi-trial algorithm then, over the common seeds."""
    labels = [
        label
        for label in group.labels
        if (runs := group.of(label)) and not any(run.one_shot for run in runs) and all(len(r.curve) > 1 for r in runs)
    ]
    by_seed = {label: {run.seed: run for run in group.of(label)} for label in labels}
    common = sorted(set.intersection(*(set(each) for each in by_seed.values()))) if len(labels) > 1 else []
    if not common:
        return np.array([]), {}
    x = _grid([by_seed[label][seed] for label in labels for seed in common], "evaluations")
    values = np.stack([[_sampled(by_seed[label][seed].curve, x, "evaluations") for label in labels] for seed in common])
    higher = group.objective.higher_is_better
    mean = ranks(np.swapaxes(values, 1, 2), higher_is_better=higher).mean(axis=0)
    return x, {label: mean[:, number] for number, label in enumerate(labels)}


def best_label(group: Group) -> str | None:
    """Return the algorithm with the best mean score."""
    means = {label: float(np.mean([run.score for run in runs])) for label in group.labels if (runs := group.of(label))}
    if not means:
        return None
    return (max if group.objective.higher_is_better else min)(means, key=lambda label: means[label])


def summaries(group: Group) -> Mapping[str, Summary]:
    """Return the summary of the scores of each algorithm that has any."""
    return {
        label: summarize([run.score for run in runs if run.score is not None])
        for label in group.labels
        if (runs := group.of(label))
    }
