"""Chooses the next architecture by what a surrogate expects of it: the step that all algorithms here share.

The acquisition function is maximised over a pool of candidates, half of them random and half mutations of the best
architectures so far, as in SMAC and BANANAS (White, Neiswanger, Savani, arXiv 1910.11858).
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from nasreg.specs import Architecture, Score, SearchSpaceSpec
from nasreg_bayes.config import SamplerConfig
from nasreg_bayes.surrogates import Array, Forest, GaussianProcess, Surrogate

Encoding = tuple[float, ...]
"""What ``SearchSpaceSpec.encode`` returns; no two architectures have the same."""

MAX_DRAWS = 100
"""Draws after which the space is taken to be used up, so that a known architecture is proposed again."""


@dataclass(frozen=True, slots=True)
class Observation:
    """An architecture and the score that it got."""

    architecture: Architecture
    encoding: Encoding
    score: Score | None
    """None if its trial failed: it counts as the worst score."""


def draw(space: SearchSpaceSpec, rng: random.Random, known: Collection[Encoding]) -> Architecture:
    """Draw an architecture uniformly, one that is not known if some draws find one."""
    for _ in range(MAX_DRAWS):
        architecture = space.sample(rng)
        if space.encode(architecture) not in known:
            break
    return architecture


class Sampler:
    """Chooses architectures by a surrogate.

    Args:
        space: The search space.
        config: Options.
    """

    def __init__(self, space: SearchSpaceSpec, config: SamplerConfig) -> None:
        self.space = space
        self.config = config
        self._has_neighbours = space.size() > 1
        self.surrogate: Surrogate = GaussianProcess() if config.surrogate == "gp" else Forest(config.trees)

    def choose(
        self,
        rng: random.Random,
        observed: Sequence[Observation],
        pending: Iterable[Encoding] = (),
        known: Collection[Encoding] = (),
    ) -> Architecture:
        """Return an architecture that is not known yet, if there is one among the candidates.

        Args:
            rng: Generator to draw from.
            observed: What to learn from, at least one of them with a score.
            pending: Architectures that are being evaluated.
            known: Architectures not to choose.
        """
        pool = self.candidates(rng, observed, known)
        if not pool:
            return draw(self.space, rng, known)
        encodings, architectures = list(pool), list(pool.values())
        y = targets([each.score for each in observed], self.config.targets)
        x = np.array([each.encoding for each in observed])
        waiting = np.array(list(pending)).reshape(-1, self.space.encoding_size)
        self.surrogate.fit(x, y, waiting, rng.getrandbits(32))
        mean, std = self.surrogate.predict(np.array(encodings))
        return architectures[int(np.argmax(self.acquisition(mean, std, float(y.max()), rng)))]

    def candidates(
        self, rng: random.Random, observed: Sequence[Observation], known: Collection[Encoding]
    ) -> dict[Encoding, Architecture]:
        """Draw architectures that are not known, by encoding."""
        done = [each for each in observed if each.score is not None]
        best = sorted(done, key=attrgetter("score"), reverse=True)[: self.config.parents]
        pool = {}
        for number in range(self.config.candidates):
            if number % 2 and self._has_neighbours:
                candidate = self.space.mutate(rng.choice(best).architecture, rng)
                if number % 4 == 1:
                    candidate = self.space.mutate(candidate, rng)
            else:
                candidate = self.space.sample(rng)
            encoding = self.space.encode(candidate)
            if encoding not in known:
                pool[encoding] = candidate
        return pool

    def acquisition(self, mean: Array, std: Array, best: float, rng: random.Random) -> Array:
        """Return what the choice maximises, for each candidate.

        Args:
            mean: Predicted targets.
            std: Their standard deviations.
            best: The best target observed.
            rng: Generator to draw from.
        """
        if self.config.acquisition == "ei":
            z = (mean - best) / std
            density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
            improvement: Array = std * (z * ndtr(z) + density)
            return improvement
        if self.config.acquisition == "ucb":
            return mean + self.config.ucb_beta * std
        return mean + std * np.random.default_rng(rng.getrandbits(64)).standard_normal(len(mean))


def targets(scores: Sequence[Score | None], kind: Literal["ranks", "values"]) -> Array:
    """Return what a surrogate learns in place of scores, of mean 0 and variance 1; higher is better.

    Args:
        scores: The scores; None, of a trial that failed, counts as the worst of them.
        kind: ``ranks`` for the normal quantiles of their ranks, ``values`` for themselves.
    """
    signed = [np.nan if each is None else each.value if each.higher_is_better else -each.value for each in scores]
    values: Array = np.array(signed)
    values[np.isnan(values)] = np.nanmin(values)
    if kind == "ranks":
        values = ndtri((rankdata(values) - 0.5) / len(values))
    values = values / (np.abs(values).max() or 1.0)  # squares of large numbers would not be finite
    centred: Array = values - values.mean()
    return centred / (centred.std() or 1.0)
