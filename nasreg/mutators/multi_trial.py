"""The base of multi-trial mutators: they propose architectures and observe what became of them.

What a proposal is worth, an evaluator says; the core does the rest (``nasreg.trainers.MultiTrialTrainer``). So random
search, evolution, reinforcement learning and Bayesian optimisation differ only here.

A mutator keeps no files. When a search is resumed, it is made anew, proposes again what it proposed before, and
observes the recorded trials in the same order. It therefore has to be deterministic: it draws from ``self.rng`` or from
torch's generator, both of which are seeded by the core before each call.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from nasreg.errors import PluginError
from nasreg.mutators.base import Mutator
from nasreg.mutators.seeding import seed_torch
from nasreg.specs.architecture import Architecture
from nasreg.specs.base import Config
from nasreg.specs.metrics import MetricSpec
from nasreg.specs.space import SearchSpaceSpec
from nasreg.specs.trial import Proposal, Trial


class MultiTrialMutator(Mutator):
    """Proposes architectures.

    A subclass implements ``propose``, ``observe`` if it learns from trials, and ``setup`` for its state.

    Args:
        space: The search space.
        config: Options of the mutator.

    Attributes:
        rng: Generator to draw from, seeded anew for each proposal and each observation.
        n_proposed: Number of proposals so far, including those that were given to the search beforehand.
        n_observed: Number of trials observed so far.
        best: The best trial, the first of equals: that with the best score of those with the highest fidelity so far.
            None before the first score.
    """

    def __init__(self, space: SearchSpaceSpec, config: Config) -> None:
        super().__init__(space, config)
        self.rng = random.Random(0)
        self.n_proposed = 0
        self.n_observed = 0
        self.best: Trial | None = None
        self._seed = 0
        self._latest: Proposal | None = None

    @property
    def objectives(self) -> Sequence[MetricSpec]:
        """What the algorithm optimises beside the score, such as costs of the network; nothing by default.

        Each is a metric of the evaluator or one of ``nasreg.specs.trial.COSTS``, which the core measures where the
        evaluator does not. ``Trial.metrics`` has the values, and the search reports a Pareto front.
        """
        return ()

    def setup(self) -> None:  # nothing to do is a good default
        """Make the state of the mutator, such as a population. Called once, with the generators seeded."""

    @abstractmethod
    def propose(self) -> Proposal | None:
        """Return the next proposal, made with ``self.proposal``.

        Returns:
            None to observe more trials first. If no trial is left to observe, None ends the search. Such a call must
            not change the state of the mutator.
        """

    def observe(self, trial: Trial) -> None:  # nothing to do is a good default
        """Learn from a trial, whatever its status. Trials come in the order of their ids.

        With several workers, a few more proposals have been made when a trial is observed.
        """

    def proposal(
        self,
        architecture: Architecture,
        *,
        parent: Trial | None = None,
        fidelity: float = 1.0,
        options: Mapping[str, Any] | None = None,
    ) -> Proposal:
        """Return a proposal with the next id; see ``nasreg.specs.Proposal``."""
        number = None if parent is None else parent.id
        return Proposal(self.n_proposed + 1, architecture, number, fidelity, options or {})

    def architecture(self) -> Architecture:
        """Return the best architecture so far; before the first score the one that was proposed last.

        Raises:
            LookupError: Nothing was proposed yet.
        """
        if self.best is not None:
            return self.best.architecture
        if self._latest is None:
            raise LookupError("no architecture was proposed yet")
        return self._latest.architecture

    # -- called by the trainer -----------------------------------------------------------------------------------------

    def start(self, seed: int) -> None:
        """Seed the mutator and set it up."""
        self._seed = seed
        self._reseed("setup", 0)
        self.setup()

    def next_proposal(self) -> Proposal | None:
        """Return a checked proposal, or None; see ``propose``.

        Raises:
            PluginError: It is not a valid proposal.
            ArchitectureError: Its architecture does not belong to the space.
        """
        self._reseed("proposal", self.n_proposed)
        found = self.propose()
        if found is None:
            return None
        if not isinstance(found, Proposal):
            raise PluginError(f"{self._name} proposed a {type(found).__name__}: return self.proposal(architecture)")
        if found.id != self.n_proposed + 1:
            raise PluginError(f"{self._name} gave proposal {self.n_proposed + 1} the id {found.id}: use self.proposal")
        if not 0 < found.fidelity <= 1:
            raise PluginError(f"{self._name} proposed fidelity {found.fidelity}: it must be above 0 and at most 1")
        if found.parent is not None and not 0 < found.parent <= self.n_observed:
            raise PluginError(f"{self._name} named trial {found.parent} as a parent, which it has not observed")
        self.space.validate(found.architecture)
        self.add(found)
        return found

    def add(self, proposal: Proposal) -> None:
        """Count a proposal, also one that the mutator did not make itself."""
        self.n_proposed = proposal.id
        self._latest = proposal

    def record(self, trial: Trial) -> None:
        """Observe a trial."""
        self._reseed("observation", trial.id)
        if trial.is_better_than(self.best):
            self.best = trial
        self.n_observed += 1
        self.observe(trial)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _reseed(self, what: str, number: int) -> None:
        self.rng = random.Random(f"{self._seed}/{what}/{number}")
        seed_torch(self.rng.getrandbits(63))
