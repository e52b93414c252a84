"""Bayesian optimisation of network morphisms (Jin, Song, Hu, Auto-Keras, arXiv 1806.10282).

A Gaussian process over the edit distance of networks predicts the score of a network. The next one maximises an upper
confidence bound, and is found in the tree that grows from the trained networks by morphs: the most promising network is
taken out of a queue, with simulated annealing, and its morphs are put in. It starts from the weights of the trained
network that it derives from.

What differs from the program (the network morphism tuner of NNI): by default one kernel serves training and prediction,
see ``nasreg_morphism.gaussian_process``; a morph is drawn among those that apply, where the program draws among all and
may draw in vain; wider takes the next width of the space, which for powers of two doubles, as there; a kernel size is
drawn from those of the space; networks of any size are allowed unless ``trainer.max_parameters`` says otherwise. With
several workers a proposal knows only the trials that have been observed.
"""

from __future__ import annotations

import heapq
import itertools
import math

import numpy as np

from nasreg.mutators import MultiTrialMutator
from nasreg.specs import Proposal, SearchSpaceSpec, Trial
from nasreg_morphism.chain import Chain, ChainSpace, chain_of
from nasreg_morphism.config import MorphismConfig
from nasreg_morphism.distance import describe
from nasreg_morphism.gaussian_process import EmbeddingProcess, Process, ProgramProcess


class MorphismMutator(MultiTrialMutator):
    """Proposes the network with the highest upper confidence bound among morphs of the trained ones.

    Raises:
        ConfigError: The first network is not in the space.
        IncompatibleError: It is another space than ``elastic-chain``.
    """

    config: MorphismConfig

    def __init__(self, space: SearchSpaceSpec, config: MorphismConfig) -> None:
        super().__init__(space, config)
        self.chains = ChainSpace(space)
        self.start_chain = self.chains.start(config)

    def setup(self) -> None:
        """Begin with the first network."""
        config = self.config
        kind = EmbeddingProcess if config.kernel == "embedding" else ProgramProcess
        self.process: Process = kind(config.noise, config.skip_weight)
        self.trained: list[Trial] = []
        self.proposed: set[Chain] = set()

    def propose(self) -> Proposal | None:
        """Return the first network, then the best morph of trained ones; None while none is trained."""
        if self.n_proposed == 0:
            return self._proposal(self.start_chain, None)
        if not self.trained:
            return None
        return self._proposal(*self._maximised())

    def observe(self, trial: Trial) -> None:
        """Fit the process to a trial that was scored."""
        self.proposed.add(chain_of(trial.architecture))  # also one that was given to the search beforehand
        if trial.score is not None:
            self.trained.append(trial)
            self.process.fit([describe(chain_of(trial.architecture))], [_larger_is_better(trial)])

    def _proposal(self, chain: Chain | None, parent: Trial | None) -> Proposal | None:
        if chain is None:
            return None
        self.proposed.add(chain)
        return self.proposal(self.chains.architecture(chain), parent=parent)

    def _maximised(self) -> tuple[Chain | None, Trial | None]:
        """Return the network with the highest acquisition found, and the trained one that it derives from."""
        config = self.config
        order = itertools.count()  # among equals the first comes first
        scores = self.process.scaled(np.array([_larger_is_better(trial) for trial in self.trained]))
        queue = [
            (-float(score), next(order), chain_of(trial.architecture), trial)
            for score, trial in zip(scores, self.trained, strict=True)
        ]
        heapq.heapify(queue)
        known = set(self.proposed)
        best: tuple[Chain | None, Trial | None] = (None, None)
        highest = -math.inf
        temperature = config.temperature
        while queue and temperature > config.min_temperature:
            value, _, chain, ancestor = heapq.heappop(queue)
            if self.rng.random() <= math.exp(min((-value - highest) / temperature, 1.0)):
                morphs = [self.chains.morph(chain, self.rng) for _ in range(config.neighbours)]
                new = [each for each in dict.fromkeys(morphs) if each is not None and each not in known]
                known.update(new)
                for morph, acquisition in zip(new, self._acquisition(new), strict=True):
                    heapq.heappush(queue, (-acquisition, next(order), morph, ancestor))
                    if acquisition > highest:
                        best, highest = (morph, ancestor), acquisition
            temperature *= config.cooling
        return best

    def _acquisition(self, chains: list[Chain]) -> list[float]:
        """Return the upper confidence bounds of networks."""
        if not chains:
            return []
        mean, deviation = self.process.predict([describe(chain) for chain in chains])
        return [float(value) for value in mean + self.config.beta * deviation]


def _larger_is_better(trial: Trial) -> float:
    if trial.score is None:
        raise TypeError(f"trial {trial.id} has no score")
    return trial.score.value if trial.score.higher_is_better else -trial.score.value
