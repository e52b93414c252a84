"""What the author of a multi-trial algorithm builds on: what proposes architectures and observes their scores.

The core trains what is proposed (``nasreg.trainers.TrialTrainer``). Random search, evolution, reinforcement learning
and Bayesian optimisation differ only in here.
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
    """An architecture that was trained."""

    architecture: Architecture
    score: float
    """Higher is better: the accuracy on images that it was not trained on."""


class TrialMutator(Mutator):
    """Proposes architectures, each after the scores of those before.

    A subclass writes ``_propose``, and ``_observe`` if it has to note more than ``trials``. What it draws comes from
    ``self.rng()``, so that a search is the same each time and resumes exactly. Anything else that it keeps between
    trials belongs into ``state_dict`` and ``load_state_dict``, or can be computed from ``trials``.

    Attributes:
        trials: All that was observed, in order.
        proposed: What was proposed last.
    """

    def __init__(self, space: SearchSpaceSpec, config: Config) -> None:
        super().__init__(space, config)
        self.trials: list[Trial] = []
        self.proposed: Architecture | None = None

    def propose(self) -> Architecture:
        """Return what to train next. Called once for each trial, after the score of the one before was observed.

        Raises:
            ArchitectureError: The subclass proposed what is no architecture of the space.
        """
        self.proposed = self._propose()
        self.space.validate(self.proposed)
        return self.proposed

    def observe(self, trial: Trial) -> None:
        """Take note of a score."""
        self.trials.append(trial)
        self._observe(trial)

    @abstractmethod
    def _propose(self) -> Architecture:
        """Return an architecture of ``self.space``."""

    def _observe(self, trial: Trial) -> None:  # nothing to do is a good default
        """Take note of a score, beyond ``trials``."""

    @property
    def best(self) -> Trial | None:
        """The trial with the highest score, the first of equals; None before the first was observed."""
        return max(self.trials, key=lambda trial: trial.score, default=None)

    def architecture(self) -> Architecture:
        """Return the best architecture so far; before the first score the one that was proposed."""
        found = self.best.architecture if self.best else self.proposed
        assert found is not None  # noqa: S101  # the trainer asks after the first proposal
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: numbers, strings, tensors, and lists and dicts of them."""
        return {
            "trials": [{"architecture": trial.architecture.to_json(), "score": trial.score} for trial in self.trials],
            "proposed": self.proposed.to_json() if self.proposed else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set what ``state_dict`` returned."""
        self.trials = [Trial(Architecture.from_json(each["architecture"]), each["score"]) for each in state["trials"]]
        self.proposed = Architecture.from_json(state["proposed"]) if state["proposed"] else None
