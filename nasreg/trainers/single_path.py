"""Trains a supernet along single paths (Guo et al., arXiv 1904.00420): each step updates one, drawn uniformly.

What a step does not compute gets no gradient, so that neither weight decay nor momentum changes it, as in the authors'
program. The result is the supernet: which of its networks is the best, a search with its weights finds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from nasreg.events import EpochEnded, Event, RunEnded
from nasreg.mutators.uniform import UniformMutator
from nasreg.trainers.config import SinglePathTrainerConfig
from nasreg.trainers.functional import learning_rate, trainable_parameters, weight_optimizer
from nasreg.trainers.one_shot import OneShotTrainer
from nasreg.trainers.steps import StepResult

if TYPE_CHECKING:
    from nasreg.data import Batch


class SinglePathTrainer(OneShotTrainer):
    """Trains the weights of a supernet, one uniformly drawn path in a step.

    Args:
        context: The search; its ``make_mutator`` makes a ``UniformMutator``.
        config: Options.
    """

    section: ClassVar[str] = "evaluator"
    config: SinglePathTrainerConfig
    mutator: UniformMutator

    def setup(self) -> None:
        """Build the supernet and the optimiser."""
        super().setup()
        config, parameters = self.config, trainable_parameters(self.model).values()
        optimizer = weight_optimizer(
            config.optimizer, parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
        )
        self.optimizers = {"weights": optimizer}

    def start_epoch(self, epoch: int) -> None:
        """Set the learning rate."""
        config = self.config
        rate = learning_rate(config.schedule, config.lr, config.lr_min, epoch, config.epochs)
        self.optimizers["weights"].param_groups[0]["lr"] = rate

    def needs_arch_batch(self, epoch: int) -> bool:
        """Return False: nothing is learned on the arch split."""
        del epoch
        return False

    def train_step(self, train: Batch, arch: Batch | None) -> StepResult:
        """Draw a path, and update its weights."""
        del arch
        self.mutator.draw()
        return self.descend(train, max_norm=self.config.grad_clip)

    def criterion(self, output: Any, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss, smoothed, and the main prediction."""
        prediction, _ = self.task.outputs(output)
        return self.task.loss(prediction, target, label_smoothing=self.config.label_smoothing), prediction

    def measure(self) -> dict[str, float]:
        """Return nothing: a path has BatchNorm statistics of its own only after they were recalibrated."""
        return {}

    def report_epoch(self, metrics: dict[str, float], seconds: float) -> None:
        """Send ``EpochEnded``; the architecture in it is the path of the last step."""
        self._tell_unused()
        self.emit(
            EpochEnded(
                self.state.epoch + 1,
                self.epochs,
                seconds,
                metrics,
                self.mutator.architecture(),
                model=self.trained_model,
            )
        )

    def final_event(self) -> Event:
        """Return the event that reports the metrics of the last epoch."""
        return RunEnded(self.mutator.architecture(), self.run_path, self.state.metrics)
