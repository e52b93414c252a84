"""Regularized evolution: the oldest member of the population dies, not the worst.

Real, Aggarwal, Huang, Le: Regularized Evolution for Image Classifier Architecture Search, arXiv 1802.01548, algorithm
1. What differs: random architectures are proposed until the population is complete, so that failed and rejected trials
do not make it smaller, and on any space a mutation is that of ``SearchSpaceSpec.mutate``, which in cells of NASNet is
the paper's. With ``population=10, sample=3`` it is the program of NAS-Bench-201 (D-X-Y/AutoDL-Projects, ``R_EA.py``),
which draws a node, one of its edges, and another operation.
"""

from __future__ import annotations

from collections import deque
from operator import attrgetter

from nasreg.mutators import MultiTrialMutator
from nasreg.specs import Architecture, Proposal, Trial
from nasreg_evolution.config import RegularizedEvolutionConfig


class RegularizedEvolution(MultiTrialMutator):
    """Mutates the winner of each tournament.

    Attributes:
        population: The members, the oldest first.
    """

    config: RegularizedEvolutionConfig

    def setup(self) -> None:
        """Begin with no member."""
        self.population: deque[Trial] = deque(maxlen=self.config.population)

    def propose(self) -> Proposal:
        """Return a random architecture until the population is complete, then a child."""
        if len(self.population) < self.config.population:
            return self.proposal(self.space.sample(self.rng))
        parent = max(self.tournament(), key=attrgetter("score"))  # the first drawn of equals
        return self.proposal(self.child(parent.architecture), parent=parent)

    def tournament(self) -> list[Trial]:
        """Draw members of the population."""
        size, count = len(self.population), self.config.sample
        if not self.config.replacement:
            return self.rng.sample(list(self.population), count)
        return [self.population[self.rng.randrange(size)] for _ in range(count)]

    def child(self, parent: Architecture) -> Architecture:
        """Return an architecture that differs from its parent in one decision, or with ``identity`` in none."""
        if self.config.identity and self.rng.random() < self.config.identity:
            return parent
        return self.space.mutate(parent, self.rng, by_part=self.config.mutation == "by-part")

    def observe(self, trial: Trial) -> None:
        """Add a trial with a score to the population, whose oldest member dies."""
        if trial.done:
            self.population.append(trial)
