"""Gaussian processes over networks, in two forms.

``EmbeddingProcess`` is that of the paper (Jin, Song, Hu, arXiv 1806.10282, section 3.1): edit distances are embedded by
Bourgain's theorem, in which each number is the smallest distance from a random set of known networks, and the kernel is
that of the embedding, ``exp(-gamma d^2)``, which is positive definite.

``ProgramProcess`` is what Auto-Keras computes (the network morphism tuner of NNI). It fits with the kernel of the
embedding but predicts with ``exp(-d^2)`` of the edit distances themselves, two kernels that do not fit each other: away
from known networks its mean is 0, whatever the scores. Also kept: the number of sets falls by one from size to size (in
both forms), a single network has the training kernel 0, and further networks get noise only on their own diagonal.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular

from nasreg_morphism.distance import Descriptor, Matrix, distances

EMBEDDING_SEED = 123
"""Of the random sets, as in the program."""

Landmarks = list[np.ndarray]
"""For each number of an embedding the indices of the networks whose smallest distance it is."""


class Process(ABC):
    """A Gaussian process.

    Args:
        noise: Added to the diagonal of the training kernel; 1e-10 in the program.
        skip_weight: Weight of skip connections in the edit distance.

    Attributes:
        known: The networks that it was fitted to.
        distances: Their edit distances, ``(known, known)``.
        factor: The lower Cholesky factor of the training kernel.
        weights: The inverse of the training kernel times the scores.
    """

    def __init__(self, noise: float = 1e-10, skip_weight: float = 1.0) -> None:
        self.noise = noise
        self.skip_weight = skip_weight
        self.known: list[Descriptor] = []
        self.scores = np.empty(0)
        self.distances: Matrix = np.empty((0, 0))
        self.factor: Matrix = np.empty((0, 0))
        self.weights = np.empty(0)

    def fit(self, networks: Sequence[Descriptor], scores: Sequence[float]) -> bool:
        """Add networks with their scores.

        Returns:
            Whether they were added: False if the training kernel with them is not positive definite.
        """
        known = [*self.known, *networks]
        across = distances(self.known, networks, self.skip_weight)
        among = distances(networks, networks, self.skip_weight)
        everything = np.block([[self.distances, across], [across.T, among]])
        kernel = self._training_kernel(everything)
        places = np.arange(len(known))[self._noisy(len(networks))]
        kernel[places, places] += self.noise
        try:
            factor = cholesky(kernel, lower=True)
        except LinAlgError:
            return False
        self.known, self.distances, self.factor = known, everything, factor
        self.scores = np.array([*self.scores, *scores])
        self.weights = cho_solve((factor, True), self.scaled(self.scores))
        return True

    def scaled(self, scores: Matrix) -> Matrix:
        """Return scores on the scale on which they are predicted."""
        return scores

    def predict(self, networks: Sequence[Descriptor]) -> tuple[Matrix, Matrix]:
        """Return the mean and the standard deviation of the scores of networks."""
        kernel = self._prediction_kernel(distances(networks, self.known, self.skip_weight))
        half = solve_triangular(self.factor, kernel.T, lower=True)
        variance = np.maximum(1 - np.einsum("ij,ij->j", half, half), 0)
        return kernel @ self.weights, np.sqrt(variance)

    def _noisy(self, new: int) -> slice:
        """Return the places of the diagonal that get noise."""
        del new
        return slice(None)

    @abstractmethod
    def _training_kernel(self, everything: Matrix) -> Matrix: ...

    @abstractmethod
    def _prediction_kernel(self, across: Matrix) -> Matrix: ...


class EmbeddingProcess(Process):
    """The process whose kernel is that of the embedding, for training and prediction.

    Scores are predicted on a scale on which the known ones have mean 0 and deviation 1, as the prior has.
    """

    def _training_kernel(self, everything: Matrix) -> Matrix:
        self._landmarks = landmarks(len(everything)) or [np.array([0])]
        self._embedded = embed(everything, self._landmarks)
        return rbf(self._embedded, self._embedded)

    def _prediction_kernel(self, across: Matrix) -> Matrix:
        return rbf(embed(across, self._landmarks), self._embedded)

    def scaled(self, scores: Matrix) -> Matrix:
        """Return scores on the scale on which they are predicted."""
        shifted: Matrix = (scores - self.scores.mean()) / (self.scores.std() or 1.0)
        return shifted


class ProgramProcess(Process):
    """The process of the program, with its two kernels."""

    def _noisy(self, new: int) -> slice:
        return slice(-new, None)

    def _training_kernel(self, everything: Matrix) -> Matrix:
        if len(everything) == 1:
            return everything.copy()
        embedded = embed(everything, landmarks(len(everything)))
        return rbf(embedded, embedded)

    def _prediction_kernel(self, across: Matrix) -> Matrix:
        kernel: Matrix = np.exp(-np.power(across, 2))
        return kernel


def landmarks(n: int) -> Landmarks:
    """Return the random sets of the embedding of n networks: of sizes 1, 2, 4, ..., drawn with replacement.

    There are ``ceil(ln n)`` of size 1, and one less of each next size, as in the program.
    """
    if n < 2:
        return []
    rng = np.random.RandomState(EMBEDDING_SEED)  # the program's generator
    times, sizes = math.ceil(math.log(n)), math.ceil(math.log(n) / math.log(2) - 1)
    found = []
    for level in range(sizes + 1):
        found += [rng.choice(n, 2**level) for _ in range(times)]
        times = max(times - 1, 0)
    return found


def embed(across: Matrix, sets: Landmarks) -> Matrix:
    """Return the embedding of networks: ``(networks, sets)``.

    Args:
        across: Distances of the networks from the known ones, ``(networks, known)``.
        sets: Indices of known networks.
    """
    return np.stack([across[:, indices].min(axis=1) for indices in sets], axis=1)


def rbf(ones: Matrix, others: Matrix) -> Matrix:
    """Return ``exp(-d^2 / features)`` of the distances of two sets of points."""
    squares = (ones**2).sum(axis=1)[:, None] - 2 * ones @ others.T + (others**2).sum(axis=1)[None, :]
    squares = np.maximum(squares, 0)
    if ones is others:
        np.fill_diagonal(squares, 0)
    kernel: Matrix = np.exp(-squares / ones.shape[1])
    return kernel
