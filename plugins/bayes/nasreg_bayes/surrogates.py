"""Models that predict the scores of architectures, and how sure they are: scikit-learn's, fitted to few observations.

Fitting is deterministic given the data and a seed, so that a search that is resumed proposes the same again.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

Array = NDArray[np.float64]

REFIT_GROWTH = 1.25
"""The hyper-parameters of a Gaussian process are fitted again when there are so many times as many observations."""


class Surrogate(ABC):
    """Predicts targets with mean 0 and variance 1 from encodings."""

    @abstractmethod
    def fit(self, x: Array, y: Array, pending: Array, seed: int) -> None:
        """Learn from observations.

        Args:
            x: Encodings, ``(observations, encoding_size)``.
            y: Targets, ``(observations,)``, standardised.
            pending: Encodings that are being evaluated, ``(pending, encoding_size)``: they count as observed with the
                mean, 0, so that what is proposed meanwhile is not the same (the constant liar of Ginsbourger, Le
                Riche, Carraro 2010, with the mean).
            seed: Seed of whatever is random.
        """

    @abstractmethod
    def predict(self, x: Array) -> tuple[Array, Array]:
        """Return the mean and the standard deviation of the target of each encoding."""


class GaussianProcess(Surrogate):
    """A Gaussian process with a Matern 5/2 kernel of one length scale, as in arXiv 1206.2944.

    On encodings of zeros and ones the kernel is a function of the number of decisions that differ. Amplitude, length
    scale and noise maximise the marginal likelihood; they are fitted again only when there are a quarter more
    observations, since that takes longer than everything else.
    """

    def __init__(self) -> None:
        self._kernel: Any = ConstantKernel(1.0, (0.05, 20.0)) * Matern(2.0, (0.3, 30.0), nu=2.5) + WhiteKernel(
            0.1, (1e-4, 2.0)
        )
        self._fitted_to = 0
        self._regressor: Any = None

    def fit(self, x: Array, y: Array, pending: Array, seed: int) -> None:
        """Learn from observations; nothing is random."""
        if len(y) >= REFIT_GROWTH * self._fitted_to:
            with warnings.catch_warnings():
                # a hyper-parameter at its bound, as with very few observations, is a valid fit
                warnings.simplefilter("ignore", ConvergenceWarning)
                self._kernel = GaussianProcessRegressor(self._kernel).fit(x, y).kernel_
            self._fitted_to = len(y)
        known, targets = np.concatenate([x, pending]), np.concatenate([y, np.zeros(len(pending))])
        self._regressor = GaussianProcessRegressor(self._kernel, optimizer=None).fit(known, targets)

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Return the posterior of the function, without the noise of observations."""
        mean, std = self._regressor.predict(x, return_std=True)
        return mean, np.sqrt(np.maximum(std**2 - self._kernel.k2.noise_level, 1e-12))


class Forest(Surrogate):
    """A random forest; its uncertainty is the spread of its trees, as in SMAC (Hutter, Hoos, Leyton-Brown 2011)."""

    def __init__(self, trees: int) -> None:
        self._trees = trees
        self._forest: Any = None

    def fit(self, x: Array, y: Array, pending: Array, seed: int) -> None:
        """Grow new trees, each on a bootstrap sample and a share of the inputs at each split."""
        known, targets = np.concatenate([x, pending]), np.concatenate([y, np.zeros(len(pending))])
        forest = RandomForestRegressor(self._trees, max_features=5 / 6, min_samples_split=3, random_state=seed)
        self._forest = forest.fit(known.astype(np.float32), targets)

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation over the trees."""
        inputs = x.astype(np.float32)
        each = np.stack([tree.predict(inputs, check_input=False) for tree in self._forest.estimators_])
        return each.mean(0), np.maximum(each.std(0), 1e-6)
