"""The trainer of multi-trial algorithms: architectures are proposed, trained one after the other, and scored.

A trial is the network of one architecture, built anew and trained for some epochs; its score is the objective of the
task on the validation split. The epochs of all trials are the epochs of the loop, so that a search resumes between
trials and within one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from nasreg.data.splits import Batch
from nasreg.errors import ConfigError, TrainingError
from nasreg.events import TrialEnded
from nasreg.mutators.multi_trial import MultiTrialMutator, Trial
from nasreg.nn.parameters import parameter_count
from nasreg.specs.architecture import Architecture
from nasreg.specs.metrics import metric_spec
from nasreg.trainers.base import StepResult, cosine_rate
from nasreg.trainers.config import MultiTrialTrainerConfig
from nasreg.trainers.context import SearchContext
from nasreg.trainers.search import SearchTrainer

MAX_REJECTED = 100
"""Proposals above the budget, one after the other, after which the search gives up."""


class MultiTrialTrainer(SearchTrainer):
    """Trains what a ``MultiTrialMutator`` proposes, and lets it observe the scores.

    Raises:
        ConfigError: The space has fewer architectures than there are to be trials, or the validation split is empty.
        TrainingError: No architecture within the budget is proposed.
    """

    config: MultiTrialTrainerConfig
    mutator: MultiTrialMutator

    def __init__(self, context: SearchContext, config: MultiTrialTrainerConfig) -> None:
        super().__init__(context, config)
        size = context.space.size()
        if config.trials > size:
            raise ConfigError(f"trainer.trials is {config.trials}, but the space has only {size} architectures")
        if not len(context.data.splits["validation"]):
            raise ConfigError(
                "the validation split, on which trials are scored, is empty: set dataset.validation_fraction"
            )
        self._seconds = 0.0
        """Training time of the finished epochs of the present trial."""

    @property
    def epochs(self) -> int:
        """All epochs of all trials."""
        return self.config.trials * self.config.epochs

    def setup(self) -> None:
        """Make the mutator and the first trial, so that there is a model."""
        self.mutator = self.context.make_mutator(self.context.space)
        self._start_trial(self._propose())

    def _propose(self) -> nn.Module:
        """Return the network of the next proposal within the budget."""
        budget = self.config.max_parameters
        for _ in range(MAX_REJECTED):
            network = self._network(self.mutator.propose())
            if budget is None or parameter_count(network) <= budget:
                return network
        raise TrainingError(
            f"none of {MAX_REJECTED} architectures proposed in a row has at most {budget:,} parameters (the last one"
            f" has {parameter_count(network):,}): raise trainer.max_parameters, or make the space smaller"
        )

    def _network(self, architecture: Architecture) -> nn.Module:
        return self.context.build_network(architecture)

    def _start_trial(self, network: nn.Module) -> None:
        config = self.config
        self.model = network.to(self.context.device)
        self.optimizers = {
            "weights": torch.optim.SGD(
                self.model.parameters(), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
            )
        }
        self._seconds = 0.0

    def start_epoch(self, epoch: int) -> None:
        """Propose at the start of a trial, and set the learning rate: a cosine over the epochs of a trial."""
        trial, within = divmod(epoch, self.config.epochs)
        if trial and within == 0 and self.state.step == 0:
            self._start_trial(self._propose())
        rate = cosine_rate(self.config.lr, self.config.lr_min, within, self.config.epochs)
        self.optimizers["weights"].param_groups[0]["lr"] = rate

    def needs_arch_batch(self, epoch: int) -> bool:
        """Return False: nothing is learned on the arch split."""
        del epoch
        return False

    def train_step(self, train: Batch, arch: Batch | None) -> StepResult:
        """Update the weights of the present trial."""
        del arch
        return self.descend(train, max_norm=self.config.grad_clip)

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Let the mutator observe the score at the end of a trial."""
        self._seconds += self.state.seconds
        number, within = divmod(epoch, self.config.epochs)
        if within + 1 < self.config.epochs or self.mutator.proposed is None:
            return
        trial = Trial(self.mutator.proposed, metrics[f"validation_{self.task.objective.name}"])
        self.mutator.observe(trial)
        self.emit(
            TrialEnded(
                trial=number,
                trials=self.config.trials,
                architecture=trial.architecture,
                score=trial.score,
                parameters=parameter_count(self.model),
                seconds=self._seconds,
                metric=metric_spec(f"validation_{self.task.objective.name}", self.task.metrics),
            )
        )

    def state_dict(self) -> dict[str, Any]:
        """Add the clock of the present trial; the mutator knows which one it is."""
        return {**super().state_dict(), "trial": {"seconds": self._seconds}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Build the trial that was interrupted, and restore it."""
        self.mutator.load_state_dict(state["mutator"])
        if self.mutator.proposed is None:
            raise ValueError("it has no proposal")
        self._start_trial(self._network(self.mutator.proposed))
        self._seconds = state["trial"]["seconds"]
        super().load_state_dict(state)
