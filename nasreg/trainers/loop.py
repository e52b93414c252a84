"""The loop of every training: epochs, steps, validation, checkpoints, events. Searches and retraining fill it in.

Everything that decides what comes next is in the checkpoint or a pure function of the seed and the position, so that a
resumed run continues bit for bit.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasreg.device import (
    is_out_of_memory,
    keeping_freed_memory,
    peak_memory,
    random_state,
    reproducible,
    set_random_state,
)
from nasreg.errors import CheckpointError, InterruptedRunError, TrainingError
from nasreg.events import CheckpointSaved, Event, MemoryMeasured, Notice, RunStarted, StepEnded
from nasreg.trainers.checkpoint import load_checkpoint, save_checkpoint
from nasreg.trainers.config import LoopConfig
from nasreg.trainers.interrupt import Interruption
from nasreg.trainers.scores import score
from nasreg.trainers.task import Task

if TYPE_CHECKING:
    from nasreg.data import Batch, Part


@dataclass
class Position:
    """How far a run has come, and the sums of the epoch so far."""

    epoch: int = 0
    step: int = 0
    seen: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seconds: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)


class Loop(ABC):
    """Trains a model, epoch by epoch, in a way that can be interrupted anywhere.

    Args:
        task: What to train on, and where to keep it.
        config: Options.

    Attributes:
        model: What is trained, after ``setup``.
        optimizers: By name; all of them are part of the checkpoint.
        position: How far the run has come.
    """

    model: nn.Module

    def __init__(self, task: Task, config: LoopConfig) -> None:
        self.task = task
        self.options = config
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.position = Position()

    @property
    @abstractmethod
    def epochs(self) -> int:
        """All epochs of the run."""

    @abstractmethod
    def setup(self) -> None:
        """Make the model, the optimisers, and in a search the mutator. Called once, with torch's generators seeded."""

    def start_epoch(self, epoch: int) -> None:  # noqa: B027  # nothing to do is a good default
        """Called before the first step of an epoch, also when it is resumed in its middle: set learning rates here."""

    def wants_alphas(self, epoch: int) -> bool:  # for subclasses
        """Return whether the steps of an epoch want batches of the alphas' part."""
        return True

    @abstractmethod
    def train_step(self, weights: Batch, alphas: Batch | None) -> tuple[float, int]:
        """Do one step.

        Args:
            weights: A batch of the weights' part.
            alphas: A batch of the alphas' part; None where that part is empty or not wanted.

        Returns:
            Mean loss and number of right answers on the weights' batch.
        """

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:  # noqa: B027
        """Called after each epoch, when it was validated and before its checkpoint."""

    @abstractmethod
    def epoch_ended(self, metrics: dict[str, float], began: float) -> None:
        """Tell of an epoch that began at that time, after ``end_epoch``."""

    @abstractmethod
    def ended(self) -> Event:
        """Return the event that tells what came out."""

    def fit(self) -> None:
        """Train to the end, from the last checkpoint on where the run directory has one.

        Raises:
            InterruptedRunError: Ctrl-C or SIGTERM; a checkpoint was written.
            TrainingError: Out of memory, or a loss that is not finite.
            CheckpointError: No checkpoint can be read.
        """
        seeded = reproducible(self.task.spec.seed, self.task.device, deterministic=self.options.deterministic)
        with keeping_freed_memory(self.task.device), seeded, Interruption() as interruption:
            try:
                self.setup()
                self._restore()
                self._run(interruption)
            except Exception as error:
                if is_out_of_memory(error):
                    raise TrainingError(self._memory_advice()) from error
                raise
        self.task.emit(self.ended())

    def _run(self, interruption: Interruption) -> None:
        parts, options = self.task.data.parts, self.options
        steps = parts["weights"].steps(options.batch_size)
        self.task.emit(
            RunStarted(
                spec=self.task.spec,
                space=self.task.space,
                device=str(self.task.device),
                parameters=sum(parameter.numel() for parameter in self.model.parameters()),
                epochs=self.epochs,
                steps=steps,
                first_epoch=self.position.epoch,
                first_step=self.position.step,
                run_dir=self.run_path,
            )
        )
        measured = False
        saved = time.monotonic()
        while self.position.epoch < self.epochs:
            began = time.monotonic() - self.position.seconds
            self.start_epoch(self.position.epoch)
            self.model.train()
            for batch, alphas in self._batches(parts["weights"], parts["alphas"], steps):
                self._step(batch, alphas, steps)
                self.position.seconds = time.monotonic() - began
                if not measured:
                    measured = True
                    self._measure_memory()
                if interruption.wanted:
                    self._interrupted()
                if time.monotonic() - saved > 60 * options.checkpoint_minutes:
                    self._save()
                    saved = time.monotonic()
            self._end_epoch(began)
            saved = time.monotonic()
            if interruption.wanted and self.position.epoch < self.epochs:
                self._interrupted()

    def _batches(self, weights: Part, alphas: Part, steps: int) -> Iterator[tuple[Batch, Batch | None]]:
        size, epoch, start = self.options.batch_size, self.position.epoch, self.position.step
        left = steps - start
        first = weights.batches(batch_size=size, epoch=epoch, start=start, steps=left)
        if len(alphas) == 0 or not self.wants_alphas(epoch):
            return ((batch, None) for batch in first)
        return zip(first, alphas.batches(batch_size=size, epoch=epoch, start=start, steps=left), strict=True)

    def _step(self, batch: Batch, alphas: Batch | None, steps: int) -> None:
        loss, correct = self.train_step(batch, alphas)
        position = self.position
        position.step += 1
        position.seen += len(batch[1])
        position.loss_sum += loss * len(batch[1])
        position.correct += correct
        self.task.emit(
            StepEnded(
                epoch=position.epoch,
                step=position.step,
                steps=steps,
                loss=position.loss_sum / position.seen,
                accuracy=position.correct / position.seen,
            )
        )

    def _measure_memory(self) -> None:
        peak = peak_memory(self.task.device)
        if peak is not None:
            self.task.emit(MemoryMeasured(peak, str(self.task.device)))

    def _end_epoch(self, began: float) -> None:
        ended = self.position
        metrics = {
            "train_loss": ended.loss_sum / ended.seen,
            "train_accuracy": ended.correct / ended.seen,
            **self.measure(),
        }
        self.end_epoch(ended.epoch, metrics)
        self.epoch_ended(metrics, began)
        self.position = Position(epoch=ended.epoch + 1, metrics=metrics)
        self._save()

    def measure(self) -> dict[str, float]:
        """Return what is measured after an epoch, beside loss and accuracy of the training itself."""
        loss, accuracy = self.evaluate()
        return {"validation_loss": loss, "validation_accuracy": accuracy}

    def evaluate(self) -> tuple[float, float]:
        """Return mean loss and accuracy on the validation part, or on the alphas' part where none is held out."""
        part = next(part for name in ("validation", "alphas", "weights") if len(part := self.task.data.parts[name]))
        piece = -(-self.options.batch_size // self.options.accumulate)
        scores = score(self.model, part, piece, self.autocast)
        return scores.loss, scores.accuracy

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of a forward pass: mixed precision where it is wanted."""
        return torch.autocast(self.task.device.type, torch.bfloat16, enabled=self.options.precision == "bfloat16")

    def pieces(self, batch: Batch) -> list[tuple[Tensor, Tensor, float]]:
        """Cut a batch for gradient accumulation; with each piece comes its share of the mean."""
        x, y = batch
        n = min(self.options.accumulate, len(y))
        return [(a, b, len(b) / len(y)) for a, b in zip(x.chunk(n), y.chunk(n), strict=True)]

    def descend(self, batch: Batch, optimizer: torch.optim.Optimizer, grad_clip: float) -> tuple[float, int]:
        """Move the weights of the model by one step of gradient descent.

        Args:
            batch: Images ``(B, C, H, W)`` and labels ``(B,)``.
            optimizer: That of the weights.
            grad_clip: Largest norm of their gradient.

        Returns:
            Mean loss and number of right answers, as ``train_step`` returns them.

        Raises:
            TrainingError: The loss is not finite.
        """
        optimizer.zero_grad()
        mean, correct = 0.0, 0
        for x, y, share in self.pieces(batch):
            with self.autocast():
                output = self.model(x)
            loss, logits = self.criterion(output, y)
            torch.autograd.backward(loss * share)
            mean += self.check_finite(loss.detach(), "training") * share
            correct += int((logits.argmax(1) == y).sum())
        nn.utils.clip_grad_norm_(self.model.parameters(), grad_clip)
        optimizer.step()
        return mean, correct

    def criterion(self, output: Any, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of what the model gave, and the logits in it."""
        logits = output.float()
        return F.cross_entropy(logits, y), logits

    def check_finite(self, mean: Tensor, what: str) -> float:
        """Return a loss as a number that is finite.

        Args:
            mean: The loss, a scalar.
            what: Of what, for the error.

        Raises:
            TrainingError: It is not.
        """
        loss = float(mean)
        if not math.isfinite(loss):
            kept = f"; the last checkpoint is from before it: {self.task.run.path}" if self.task.run else ""
            raise TrainingError(
                f"the {what} loss is {loss} in epoch {self.position.epoch + 1}, step {self.position.step + 1}{kept}."
                " Lower the learning rate, or check the data"
            )
        return loss

    # What follows keeps a run and brings it back.

    def state_dict(self) -> dict[str, Any]:
        """Return everything that training changes, except the position and torch's generators."""
        return {
            "model": self.model.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set what ``state_dict`` returned."""
        self.model.load_state_dict(state["model"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])

    @property
    def run_path(self) -> Path | None:
        """The run directory, where there is one."""
        return self.task.run.path if self.task.run else None

    def _save(self) -> None:
        if self.task.run is None:
            return
        state = {
            **self.state_dict(),
            "position": asdict(self.position),
            "random": random_state(self.task.device),
            "metrics_position": self.task.metrics.position() if self.task.metrics else 0,
        }
        path = save_checkpoint(self.task.run.path, state)
        self.task.emit(CheckpointSaved(path, self.position.epoch, self.position.step))

    def _restore(self) -> None:
        if self.task.run is None:
            return
        state, problems = load_checkpoint(self.task.run.path, self.task.device)
        for problem in problems:
            self.task.emit(Notice(problem))
        metrics_position = 0
        if state is not None:
            try:
                self.load_state_dict(state)
                self.position = Position(**state["position"])
                metrics_position = state["metrics_position"]
                # Generators live on the CPU, whatever device the tensors were mapped to.
                set_random_state({name: value.cpu() for name, value in state["random"].items()}, self.task.device)
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                raise CheckpointError(
                    f"the checkpoint in {self.task.run.path} is not of this run ({' '.join(str(error).split())[:200]})"
                ) from error
        if self.task.metrics:
            self.task.metrics.truncate(metrics_position)

    def _interrupted(self) -> None:
        self._save()
        where = f"in epoch {self.position.epoch + 1} after step {self.position.step}"
        if self.task.run is None:
            raise InterruptedRunError(f"interrupted {where}; nothing was kept, since there is no run directory")
        raise InterruptedRunError(f"interrupted {where}; go on with: nasreg resume {self.task.run.path}")

    def _memory_advice(self) -> str:
        space = self.task.spec.space.options
        size = ", ".join(f"space.{name}={space[name]}" for name in ("cells", "channels") if name in space)
        return (
            f"out of memory on {self.task.device} with trainer.batch_size={self.options.batch_size}"
            f"{', ' + size if size else ''}: lower one of them, or compute each batch in pieces"
            f" (--set trainer.accumulate={2 * self.options.accumulate})"
        )


def cosine_rate(high: float, low: float, epoch: int, epochs: int) -> float:
    """Return the learning rate of an epoch: a cosine from ``high`` in the first towards ``low`` after the last."""
    return low + (high - low) * (1 + math.cos(math.pi * epoch / epochs)) / 2
