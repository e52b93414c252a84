"""What random search finds in a table, in closed form: the baseline that needs no run. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np


class BestOfRandom(NamedTuple):
    """The distribution of the best of some random draws from a table."""

    mean: float
    std: float
    """Standard deviation."""
    probability_of_optimum: float
    """Probability that the best value of the table is among them."""


def expected_best_of_random(
    values: Iterable[float] | np.ndarray[Any, Any],
    draws: int,
    *,
    higher_is_better: bool = True,
    replacement: bool = True,
    weights: np.ndarray[Any, Any] | None = None,
) -> BestOfRandom:
    """Return the distribution of the best value among random draws from a table, uniform ones by default.

    With F(v) the share of the table, by weight, that is at most v, the best of N draws is at most v with probability
    F(v)^N, and without replacement with probability C(c, N) / C(M, N), where c of the M values are at most v.

    Args:
        values: The values of the table, all finite.
        draws: Number of draws N, at least 1; without replacement all values are drawn from M on.
        higher_is_better: Whether the best is the largest.
        replacement: Whether the same row may be drawn again.
        weights: Of each value, in proportion to the probability that a draw gives it, such as the number of
            architectures that share a row; only with replacement.

    Raises:
        ValueError: There is no value, or no draw, or the weights do not fit.
    """
    given = values if isinstance(values, np.ndarray) else list(values)
    sign = 1 if higher_is_better else -1
    numbers = sign * np.asarray(given, dtype=np.float64)
    if not len(numbers) or draws < 1:
        raise ValueError("there must be a value and a draw")
    if weights is not None and (not replacement or weights.shape != numbers.shape or not weights.min() >= 0):
        raise ValueError("weights need draws with replacement, and one for each value from 0 on")
    distinct, place = np.unique(numbers, return_inverse=True)
    at_most = np.cumsum(np.bincount(place, weights))
    total = at_most[-1]
    if replacement:
        below = (at_most / total) ** draws
    else:
        # C(c, N) / C(M, N) is the product of (c - k) / (M - k) over k < N, added up as logarithms
        steps = np.arange(min(draws, total))
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = [np.log(np.maximum(c - steps, 0) / (total - steps)).sum() for c in at_most]
        below = np.exp(np.array(logs))
    probabilities = np.diff(below, prepend=0.0)
    mean = float(probabilities @ distinct)
    variance = float(probabilities @ (distinct - mean) ** 2)
    return BestOfRandom(sign * mean, max(variance, 0.0) ** 0.5, float(probabilities[-1]))
