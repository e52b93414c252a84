"""The base of multi-trial mutators: they propose architectures and observe their scores.

The core trains what is proposed (``nasreg.trainers.MultiTrialTrainer``). Random search, evolution, reinforcement
learning and Bayesian optimisation differ only here.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from nasreg.mutators.base import Mutator
from nasreg.specs.architecture import Architecture
from nasreg.specs.base import Config
from nasreg.specs.space import SearchSpaceSpec


@dataclass(frozen=True)
class Trial:
    """A trained architecture and its score."""

    architecture: Architecture
    score: float
    """Higher is better: the objective of the task on the validation split."""


class MultiTrialMutator(Mutator):
    """Proposes architectures, each after the scores of those before.

    A subclass implements ``_propose``, and ``_observe`` if it has to record more than ``trials``. It draws from
    ``self.rng()``, so that a search is reproducible and resumes exactly. Any other state belongs into ``state_dict``
    and ``load_state_dict``, or can be computed from ``trials``.

    Attributes:
        trials: All trials observed so far, in order.
        proposed: The last proposal.
    """

    def __init__(self, space: SearchSpaceSpec, config: Config) -> None:
        super().__init__(space, config)
        self.trials: list[Trial] = []
        self.proposed: Architecture | None = None

    def propose(self) -> Architecture:
        """Return the next architecture to train. Called once per trial, after the previous score was observed.

        Raises:
            ArchitectureError: The proposal does not belong to the space.
        """
        self.proposed = self._propose()
        self.space.validate(self.proposed)
        return self.proposed

    def observe(self, trial: Trial) -> None:
        """Record a score."""
        self.trials.append(trial)
        self._observe(trial)

    @abstractmethod
    def _propose(self) -> Architecture:
        """Return an architecture of ``self.space``."""

    def _observe(self, trial: Trial) -> None:  # nothing to do is a good default
        """Record more of a score than ``trials`` does."""

    @property
    def best(self) -> Trial | None:
        """The trial with the highest score, the first of equals; None before the first was observed."""
        return max(self.trials, key=lambda trial: trial.score, default=None)

    def architecture(self) -> Architecture:
        """Return the best architecture so far; before the first score the one that was proposed.

        Raises:
            LookupError: Nothing was proposed yet.
        """
        if self.best is not None:
            return self.best.architecture
        if self.proposed is None:
            raise LookupError("no architecture was proposed yet")
        return self.proposed

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a checkpoint keeps: numbers, strings, tensors, and lists and dicts of them."""
        return {
            "trials": [{"architecture": trial.architecture.to_json(), "score": trial.score} for trial in self.trials],
            "proposed": self.proposed.to_json() if self.proposed else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.trials = [Trial(Architecture.from_json(each["architecture"]), each["score"]) for each in state["trials"]]
        self.proposed = Architecture.from_json(state["proposed"]) if state["proposed"] else None
