"""NSGA-II: a population spreads over the Pareto front of several objectives.

Deb, Pratap, Agarwal, Meyarivan: A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, IEEE Transactions on
Evolutionary Computation 6(2), 2002. In NAS it is known from NSGA-Net (Lu et al., arXiv 1810.03522). What differs:
crossover and mutation are those of the search space, so that a mutation changes exactly one decision, where the paper
changes each of n with probability 1/n. A generation ends when as many children as the population has members have a
score; with several workers some of them wait for the last of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nasreg.mutators import MultiTrialMutator
from nasreg.specs import COSTS, MetricSpec, Proposal, Trial, crowding_distances, non_dominated_sort
from nasreg_evolution.config import Nsga2Config


class Member(NamedTuple):
    """A member of the population; the greater one is the better one."""

    minus_rank: int
    """Minus the number of the front that it is on: 0 for the best."""
    crowding: float
    """How far its neighbours on that front are; the more the better."""
    trial: Trial

    @property
    def fitness(self) -> tuple[int, float]:
        """What members are compared by."""
        return self.minus_rank, self.crowding


class Nsga2(MultiTrialMutator):
    """Breeds generations of children, and keeps the best of parents and children.

    Attributes:
        parents: The population; empty in the first generation, which is random.
        children: The trials of the present generation that have a score.
    """

    config: Nsga2Config

    @property
    def objectives(self) -> Sequence[MetricSpec]:
        """The costs."""
        return [cost for cost in COSTS if cost.name in self.config.costs]

    def setup(self) -> None:
        """Begin with no member."""
        self.parents: list[Member] = []
        self.children: list[Trial] = []

    def propose(self) -> Proposal | None:
        """Return a child of two winners of tournaments, or None where the generation is complete."""
        running = self.n_proposed - self.n_observed
        if len(self.children) + running >= self.config.population:
            return None
        if not self.parents:
            return self.proposal(self.space.sample(self.rng))
        parent, other = self.tournament(), self.tournament()
        child = parent.architecture
        if self.rng.random() < self.config.crossover:
            child = self.space.crossover(child, other.architecture, self.rng)
        if self.rng.random() < self.config.mutation:
            child = self.space.mutate(child, self.rng)
        return self.proposal(child, parent=parent)

    def tournament(self) -> Trial:
        """Draw two members; return the one on the better front, else the one in the less crowded place."""
        two = self.rng.choices(self.parents, k=2)
        return max(two, key=lambda member: member.fitness).trial

    def observe(self, trial: Trial) -> None:
        """Add a trial with a value of each objective; after the last of a generation select the next parents."""
        if trial.done and all(metric.name in trial.metrics for metric in self.objectives):
            self.children.append(trial)
        if len(self.children) >= self.config.population:
            everybody = [*(member.trial for member in self.parents), *self.children]
            self.parents, self.children = self.survivors(everybody), []

    def survivors(self, trials: Sequence[Trial]) -> list[Member]:
        """Return the best of some trials: front by front, of the last one those in the least crowded places."""
        points = [self.point(trial) for trial in trials]
        members: list[Member] = []
        for rank, front in enumerate(non_dominated_sort(points)):
            distances = crowding_distances([points[place] for place in front])
            members += [
                Member(-rank, distance, trials[place]) for place, distance in zip(front, distances, strict=True)
            ]
        members.sort(key=lambda member: member.fitness, reverse=True)
        return members[: self.config.population]

    def point(self, trial: Trial) -> tuple[float, ...]:
        """Return the objectives of a trial with a score; less is better."""
        if trial.score is None:
            raise ValueError("a trial without a score has no objectives")
        score = -trial.score.value if trial.score.higher_is_better else trial.score.value
        return (score, *(trial.metrics[metric.name] for metric in self.objectives))
