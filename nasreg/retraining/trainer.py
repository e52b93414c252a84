"""Trains the network of an architecture: SGD, drop-path, auxiliary head, label smoothing, an average of the weights.

The recipe is that of DARTS (Liu, Simonyan, Yang, arXiv 1806.09055, section 3.2 and the authors' program) and of P-DARTS
(arXiv 1904.12760), which differ in numbers only. It works with any network: drop-path is whatever ``StochasticDepth``
is in it, an auxiliary head is a second output.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.ops import StochasticDepth

from nasreg.data.parts import Batch
from nasreg.events import EpochEnded, Event, RunEnded
from nasreg.retraining.config import RetrainConfig
from nasreg.specs.retrain import RetrainSpec
from nasreg.trainers.loop import Loop, cosine_rate
from nasreg.trainers.scores import score
from nasreg.trainers.task import Task

BEST, LAST = "best.safetensors", "last.safetensors"


@dataclass(kw_only=True)
class RetrainTask(Task):
    """All that a retraining is given."""

    spec: RetrainSpec
    build: Callable[[], nn.Module]
    """Builds the network, with its auxiliary head where there is to be one."""
    save: Callable[[str, nn.Module, Mapping[str, float]], None]
    """Keeps the weights of a network in a file of the run, with what was measured."""


class RetrainTrainer(Loop):
    """Trains one network from the start, and measures it on the test set after each epoch.

    Args:
        task: What to train.
        config: Options.
    """

    task: RetrainTask
    options: RetrainConfig

    def __init__(self, task: RetrainTask, config: RetrainConfig) -> None:
        super().__init__(task, config)
        self.average: AveragedModel | None = None
        self.best = -1.0
        """Highest accuracy so far, on the validation part where there is one, else on the test set."""

    @property
    def epochs(self) -> int:
        """All epochs."""
        return self.options.epochs

    def setup(self) -> None:
        """Build the network, its average and the optimiser."""
        options = self.options
        self.model = self.task.build().to(self.task.device)
        if options.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        if options.ema:
            # Statistics of BatchNorm are averaged with the weights that they belong to.
            average = get_ema_multi_avg_fn(options.ema)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(self.model, multi_avg_fn=average, use_buffers=True)
        self.optimizers = {
            "weights": torch.optim.SGD(
                self.model.parameters(), lr=options.lr, momentum=options.momentum, weight_decay=options.weight_decay
            )
        }

    def start_epoch(self, epoch: int) -> None:
        """Set learning rate and drop-path."""
        self.optimizers["weights"].param_groups[0]["lr"] = learning_rate(self.options, epoch)
        for module in self.model.modules():
            if isinstance(module, StochasticDepth):
                module.p = self.options.drop_path * epoch / self.options.epochs

    def wants_alphas(self, epoch: int) -> bool:
        """Return False: there are no choices to learn."""
        del epoch
        return False

    def train_step(self, weights: Batch, alphas: Batch | None) -> tuple[float, int]:
        """Move the weights, and their average."""
        del alphas
        images, labels = weights
        if self.options.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        result = self.descend((images, labels), self.optimizers["weights"], self.options.grad_clip)
        if self.average is not None:
            self.average.update_parameters(self.model)
        return result

    def criterion(self, output: Any, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss, smoothed and with that of the auxiliary head, and the logits."""
        logits, auxiliary = output if isinstance(output, tuple) else (output, None)
        logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
        smoothing = self.options.label_smoothing
        loss = F.cross_entropy(logits, y, label_smoothing=smoothing)
        if auxiliary is not None:
            extra = F.cross_entropy(auxiliary.to(logits.dtype), y, label_smoothing=smoothing)
            loss = loss + self.options.auxiliary_weight * extra
        return loss, logits

    @property
    def result(self) -> nn.Module:
        """The network that is measured and kept: the average of the weights, or the network itself."""
        return self.model if self.average is None else self.average.module

    def measure(self) -> dict[str, float]:
        """Measure on the validation part, where there is one, and on the test set."""
        found: dict[str, float] = {}
        size = -(-self.options.batch_size // self.options.accumulate)
        for name in ("validation", "test"):
            part = self.task.data.parts[name]
            if len(part):
                scores = score(self.result, part, size, self.autocast)
                found |= {f"{name}_loss": scores.loss, f"{name}_accuracy": scores.accuracy}
                if len(self.task.data.info.classes) > 5:
                    found[f"{name}_top5"] = scores.top5
        self.model.train()
        return found

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Keep the weights, and those of the best epoch."""
        del epoch
        if self.task.run is None:
            return
        self.task.save(LAST, self.result, metrics)
        accuracy = metrics.get("validation_accuracy", metrics["test_accuracy"])
        if accuracy > self.best:
            self.best = accuracy
            self.task.save(BEST, self.result, metrics)

    def epoch_ended(self, metrics: dict[str, float], began: float) -> None:
        """Tell of an epoch."""
        self.task.emit(
            EpochEnded(
                epoch=self.position.epoch,
                epochs=self.epochs,
                seconds=time.monotonic() - began,
                metrics=metrics,
                architecture=self.task.spec.architecture,
            )
        )

    def ended(self) -> Event:
        """Tell what it ended with."""
        return RunEnded(self.task.spec.architecture, self.run_path, self.position.metrics)

    def state_dict(self) -> dict[str, Any]:
        """Add the average and the best accuracy."""
        average = None if self.average is None else self.average.state_dict()
        return {**super().state_dict(), "average": average, "best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set what ``state_dict`` returned."""
        super().load_state_dict(state)
        self.best = state["best"]
        if self.average is not None:
            self.average.load_state_dict(state["average"])


def learning_rate(options: RetrainConfig, epoch: int) -> float:
    """Return the learning rate of an epoch."""
    if options.schedule == "exponential":
        return options.lr * options.lr_decay**epoch
    if options.schedule == "linear":
        return options.lr_min + (options.lr - options.lr_min) * (1 - epoch / options.epochs)
    return cosine_rate(options.lr, options.lr_min, epoch, options.epochs)
