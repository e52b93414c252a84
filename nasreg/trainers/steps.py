"""What training steps are made of: pieces of a batch, forward passes, gradients, updates; ``loop`` runs the steps.

The model, its optimisers and the processes that train it together belong here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from nasreg.errors import ConfigError
from nasreg.trainers.advice import Advice, number_of_pieces
from nasreg.trainers.base import Trainer
from nasreg.trainers.config import TrainerConfig
from nasreg.trainers.context import DataContext
from nasreg.trainers.distributed import part_of
from nasreg.trainers.functional import Sums

if TYPE_CHECKING:
    from nasreg.data import Batch


@dataclass
class LoopState:
    """How far a run has come, and the statistics of the epoch so far."""

    epoch: int = 0
    step: int = 0
    statistics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)


class StepResult(NamedTuple):
    """The outcome of a training step."""

    loss: float
    """Mean loss of the train batch."""
    statistics: Mapping[str, Tensor]
    """Statistics of the train batch, from ``Task.statistics``."""


class StepTrainer(Trainer):
    """Trains a model by gradient descent, step by step.

    Authors derive from ``EpochTrainer`` or one of its subclasses, which run the steps.

    Args:
        context: The run.
        config: Options.

    Attributes:
        model: The model that is trained, after ``setup``.
        optimizers: By name; all of them are part of the checkpoint.
        processes: Those that train the model together, each of which computes a part of each batch. After a step they
            have the same model; ``gradients`` of a bilevel trainer and ``descend`` see to that.
        state: How far the run has come.
    """

    section: ClassVar[str] = "trainer"
    """The section of the options, as a user writes it."""
    model: nn.Module

    context: DataContext

    def __init__(self, context: DataContext, config: TrainerConfig) -> None:
        super().__init__(context)
        self.config = config
        self.processes = context.processes
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.state = LoopState()

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context of a forward pass: mixed precision if the options ask for it."""
        return torch.autocast(self.context.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16")

    def pieces(self, batch: Batch) -> list[tuple[Tensor, Tensor, float]]:
        """Split a batch for gradient accumulation; each piece comes with its share of the mean over all processes.

        No piece is a single sample, which BatchNorm could not normalise, unless the batch is.
        """
        x, y = batch
        share, self.processes.copies = part_of(batch)
        n = number_of_pieces(len(y), self.config.accumulate)
        return [(a, b, share * (len(b) / len(y))) for a, b in zip(x.tensor_split(n), y.tensor_split(n), strict=True)]

    def descend(
        self,
        batch: Batch,
        optimizer: str = "weights",
        *,
        max_norm: float | None = None,
        clip_with: Iterable[Tensor] = (),
    ) -> StepResult:
        """Update the weights of the model by one step of gradient descent.

        Args:
            batch: Inputs ``(B, C, H, W)`` and targets.
            optimizer: Name of their optimiser.
            max_norm: Maximum norm of their gradient.
            clip_with: Other parameters whose gradients count in that norm and are scaled down with it.

        Raises:
            TrainingError: The loss is not finite.
        """
        self.optimizers[optimizer].zero_grad()
        mean, sums = 0.0, Sums()
        pieces = self.pieces(batch)
        for number, (x, y, share) in enumerate(pieces, 1):
            with self.adding_up(last=number == len(pieces)):
                with self.autocast():
                    output = self.predict(x)
                loss, prediction = self.criterion(output, y)
                torch.autograd.backward(loss * share)
            mean += float(loss.detach()) * share
            sums.add(self.task.statistics(prediction, y))
        mean = self.check_finite(self.processes.total({"loss": mean})["loss"], "training")
        self.add_up_gradients()
        self.update(optimizer, [*self.model.parameters(), *clip_with], max_norm=max_norm)
        return StepResult(mean, sums.values)

    def predict(self, x: Tensor) -> Any:
        """Return the output of the model in a step of ``descend``."""
        return self.model(x)

    def adding_up(self, *, last: bool) -> AbstractContextManager[Any]:
        """Return the context in which the gradients of a piece are computed; the last one may exchange them."""
        del last
        return nullcontext()

    def add_up_gradients(self) -> None:
        """Add up, over the processes, the gradients that ``backward`` left."""
        self.processes.add_up([each.grad for each in self.model.parameters() if each.grad is not None])

    def synchronize_batch_norm(self, model: nn.Module) -> None:
        """Let BatchNorm normalise by the statistics of the whole batch of several processes.

        Raises:
            ConfigError: The batch is to be computed in pieces, one after the other.
        """
        if self.config.accumulate > 1 and self.processes.world_size > 1:
            raise ConfigError(
                f"{self.section}.sync_batch_norm normalises by the whole batch, which {self.section}.accumulate="
                f"{self.config.accumulate} computes in pieces, one after the other: leave out one of them"
            )
        self.processes.synchronize_batch_norm(model)

    def criterion(self, output: Any, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of a network's output, and the main prediction in it."""
        prediction, _ = self.task.outputs(output)
        return self.task.loss(prediction, target), prediction

    def update(
        self,
        optimizer: str,
        parameters: Iterable[Tensor],
        gradients: Iterable[Tensor] | None = None,
        *,
        max_norm: float | None = None,
    ) -> None:
        """Update parameters by one step of an optimiser. All gradients of a training reach their optimisers here.

        Args:
            optimizer: Name of the optimiser.
            parameters: Its parameters.
            gradients: Their gradients, in the same order; by default those that ``backward`` left.
            max_norm: Maximum norm of the gradient; longer ones are scaled down.
        """
        parameters = list(parameters)
        if gradients is not None:
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
        if max_norm is not None:
            nn.utils.clip_grad_norm_(parameters, max_norm)
        self.optimizers[optimizer].step()

    def check_finite(self, mean: Tensor | float, kind: str) -> float:
        """Return a loss as a finite number.

        Args:
            mean: The loss, a scalar.
            kind: Which loss it is, for the error.

        Raises:
            TrainingError: It is not finite.
        """
        loss = float(mean)
        if not math.isfinite(loss):
            raise self.advice.not_finite(kind, loss, f"in epoch {self.state.epoch + 1}, step {self.state.step + 1}")
        return loss

    @property
    def advice(self) -> Advice:
        """What helps against errors of this training."""
        # What belongs to a trial is resumed with its search.
        resume = self.run.command if self.run is not None and self.section == "trainer" else None
        return Advice(self.context, self.config, self.section, resume)
