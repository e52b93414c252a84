"""Single Path One-Shot: evolution on the weights of a supernet that was trained along uniformly drawn paths.

Guo, Zhang, Mu, Heng, Liu, Wei, Sun: Single Path One-Shot Neural Architecture Search with Uniform Sampling, arXiv
1904.00420: here algorithm 1, the evolution; the evaluator ``supernet`` trains the supernet and scores with it. As in
the authors' program, the parents are the best of all architectures so far, a child that is above the budget or was
evaluated before is none, and random architectures complete a generation. What differs: with several workers the next
generation begins when all children of the one before have a score.
"""

from __future__ import annotations

from collections import Counter
from operator import attrgetter
from typing import Literal

from nasreg.mutators import MultiTrialMutator
from nasreg.specs import Architecture, Proposal, Trial
from nasreg_spos.config import SposConfig

Kind = Literal["mutation", "crossover", "random"]


class Spos(MultiTrialMutator):
    """Breeds generations from the best architectures of all before.

    Attributes:
        parents: The best trials so far, the best first; empty in the first generation, which is random.
        children: The trials of the present generation that have a score.
        made: How many children of the present generation there are of each kind, without rejected ones.
        tried: How many were proposed, with rejected ones.
    """

    config: SposConfig

    def setup(self) -> None:
        """Begin with no architecture."""
        self.parents: list[Trial] = []
        self._begin()

    def _begin(self) -> None:
        self.children: list[Trial] = []
        self.made: Counter[Kind] = Counter()
        self.tried: Counter[Kind] = Counter()
        self._kinds: dict[int, Kind] = {}

    def propose(self) -> Proposal | None:
        """Return a mutation, then a crossover, then a random architecture; None where the generation is complete."""
        if self.made.total() >= self.config.population:
            return None
        kind, parent = self.kind(), None
        if kind == "random":
            architecture = self.space.sample(self.rng)
        else:
            parent = self.rng.choice(self.parents)
            architecture = self.mutate(parent.architecture) if kind == "mutation" else self.crossover(parent)
        self.made[kind] += 1
        self.tried[kind] += 1
        proposal = self.proposal(architecture, parent=parent)
        self._kinds[proposal.id] = kind
        return proposal

    def kind(self) -> Kind:
        """Return what the next child comes of."""
        wanted: dict[Kind, int] = {"mutation": self.config.mutations, "crossover": self.config.crossovers}
        for kind, number in wanted.items():
            if self.parents and self.made[kind] < number and self.tried[kind] < self.config.attempts * number:
                return kind
        return "random"

    def mutate(self, parent: Architecture) -> Architecture:
        """Return an architecture of which each decision is drawn anew with some probability."""
        indices: list[int] = []
        for index in self.space.indices_of(parent):
            allowed = self.space.allowed(indices)
            keeps = self.rng.random() >= self.config.probability and index in allowed
            indices.append(index if keeps else self.rng.choice(allowed))
        return self.space.architecture_of(indices)

    def crossover(self, parent: Trial) -> Architecture:
        """Return an architecture each decision of which is that of either of two parents."""
        return self.space.crossover(parent.architecture, self.rng.choice(self.parents).architecture, self.rng)

    def observe(self, trial: Trial) -> None:
        """Note a child; after the last of a generation select the parents of the next."""
        kind = self._kinds.pop(trial.id, None)
        if trial.status == "rejected" and kind is not None:
            self.made[kind] -= 1
        if trial.done:
            self.children.append(trial)
        if self.made.total() >= self.config.population and not self._kinds:
            best_first = sorted([*self.parents, *self.children], key=attrgetter("score"), reverse=True)
            self.parents = best_first[: self.config.top]
            self._begin()
