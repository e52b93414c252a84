"""The trainer of every multi-trial algorithm: architectures are proposed, trained one after the other, and scored.

A trial is the network of one architecture, built anew and trained for some epochs; its score is the accuracy on images
that it was not trained on. The epochs of all trials are the epochs of the loop, so that a search resumes between trials
and within one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from nasreg.data.parts import Batch
from nasreg.errors import ConfigError, TrainingError
from nasreg.events import TrialEnded
from nasreg.mutators.trials import Trial, TrialMutator
from nasreg.nn.freeze import freeze
from nasreg.specs.architecture import Architecture
from nasreg.trainers.config import TrialTrainerConfig
from nasreg.trainers.loop import cosine_rate
from nasreg.trainers.search import SearchTrainer
from nasreg.trainers.task import SearchTask

_PROPOSALS = 100
"""Proposals above the budget, one after the other, after which the search gives up."""


class TrialTrainer(SearchTrainer):
    """Trains what a ``TrialMutator`` proposes, and lets it observe the scores.

    Raises:
        ConfigError: The space has fewer architectures than there are to be trials, or no image is held out.
        TrainingError: No architecture within the budget is proposed.
    """

    options: TrialTrainerConfig
    mutator: TrialMutator

    def __init__(self, task: SearchTask, config: TrialTrainerConfig) -> None:
        super().__init__(task, config)
        size = task.space.size()
        if config.trials > size:
            raise ConfigError(f"trainer.trials is {config.trials}, but the space has only {size} architectures")
        if not len(task.data.parts["validation"]) + len(task.data.parts["alphas"]):
            raise ConfigError(
                "no image is held out to score trials on: set dataset.validation_fraction or dataset.alpha_fraction"
            )
        self.mutator = task.mutator(task.space)
        self._seconds = 0.0
        """Training time of the present trial's finished epochs."""

    @property
    def epochs(self) -> int:
        """All epochs of all trials."""
        return self.options.trials * self.options.epochs

    def setup(self) -> None:
        """Make the first trial, so that there is a model."""
        self._start_trial(self._propose())

    def _propose(self) -> nn.Module:
        """Return the network of what the mutator proposes, within the budget."""
        most = self.options.max_parameters
        for _ in range(_PROPOSALS):
            network = self._network(self.mutator.propose())
            if most is None or _parameters(network) <= most:
                return network
        raise TrainingError(
            f"none of {_PROPOSALS} architectures proposed in a row has at most {most:,} weights (the last one has"
            f" {_parameters(network):,}): raise trainer.max_parameters, or make the space smaller"
        )

    def _network(self, architecture: Architecture) -> nn.Module:
        return freeze(self.task.build(retrain=True), architecture, keep_weights=False)

    def _start_trial(self, network: nn.Module) -> None:
        options = self.options
        self.model = network.to(self.task.device)
        self.optimizers = {
            "weights": torch.optim.SGD(
                self.model.parameters(), lr=options.lr, momentum=options.momentum, weight_decay=options.weight_decay
            )
        }
        self._seconds = 0.0

    def start_epoch(self, epoch: int) -> None:
        """Propose at the start of a trial, and set the learning rate: a cosine over the epochs of a trial."""
        trial, within = divmod(epoch, self.options.epochs)
        if trial and within == 0 and self.position.step == 0:
            self._start_trial(self._propose())
        rate = cosine_rate(self.options.lr, self.options.lr_min, within, self.options.epochs)
        self.optimizers["weights"].param_groups[0]["lr"] = rate

    def wants_alphas(self, epoch: int) -> bool:
        """Return False: that part, where there is one, is for the score."""
        del epoch
        return False

    def train_step(self, weights: Batch, alphas: Batch | None) -> tuple[float, int]:
        """Move the weights of the present trial."""
        del alphas
        return self.descend(weights, self.optimizers["weights"], self.options.grad_clip)

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Let the mutator observe the score at the end of a trial."""
        self._seconds += self.position.seconds
        number, within = divmod(epoch, self.options.epochs)
        if within + 1 < self.options.epochs:
            return
        assert self.mutator.proposed is not None  # noqa: S101  # setup has proposed
        trial = Trial(self.mutator.proposed, metrics["validation_accuracy"])
        self.mutator.observe(trial)
        self.task.emit(
            TrialEnded(
                trial=number,
                trials=self.options.trials,
                architecture=trial.architecture,
                score=trial.score,
                parameters=_parameters(self.model),
                seconds=self._seconds,
            )
        )

    def state_dict(self) -> dict[str, Any]:
        """Add the clock of the present trial; which one it is, the mutator knows."""
        return {**super().state_dict(), "trial": {"seconds": self._seconds}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Build the trial that was under way, and go on with it."""
        self.mutator.load_state_dict(state["mutator"])
        assert self.mutator.proposed is not None  # noqa: S101  # there is no checkpoint before the first proposal
        self._start_trial(self._network(self.mutator.proposed))
        self._seconds = state["trial"]["seconds"]
        super().load_state_dict(state)


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
