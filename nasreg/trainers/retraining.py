"""Trains the network of an architecture: drop-path, auxiliary head, label smoothing, an average of the weights.

The procedure is that of Liu, Simonyan, Yang (arXiv 1806.09055, section 3.2 and the authors' program) and of Chen, Xie,
Wu, Tian (arXiv 1904.12760), which differ in numbers only. It works with any network: drop-path applies to every
``StochasticDepth`` in it, an auxiliary head is a second output.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.ops import StochasticDepth

from nasreg.data.splits import Batch
from nasreg.errors import SpaceError
from nasreg.events import EpochEnded, Event, RunEnded
from nasreg.runs.files import BEST_WEIGHTS, LAST_WEIGHTS
from nasreg.specs.references import RegisteredRef
from nasreg.trainers.config import RetrainConfig
from nasreg.trainers.context import RetrainContext
from nasreg.trainers.functional import learning_rate, trainable_parameters, weight_optimizer
from nasreg.trainers.loop import EpochTrainer
from nasreg.trainers.steps import StepResult


class RetrainTrainer(EpochTrainer):
    """Trains one network from scratch, and measures it on the test set after each epoch.

    Args:
        context: The retraining.
        config: Options.
    """

    context: RetrainContext
    config: RetrainConfig

    def __init__(self, context: RetrainContext, config: RetrainConfig) -> None:
        super().__init__(context, config)
        self.average: AveragedModel | None = None
        self._parallel: nn.Module
        self.best: float | None = None
        """Best value of the objective so far, on the validation split if there is one, else on the test set."""

    @property
    def epochs(self) -> int:
        """All epochs."""
        return self.config.epochs

    def setup(self) -> None:
        """Build the network, its average and the optimiser."""
        config = self.config
        self.model = self.context.build_network().to(self.context.device)
        if self.context.save_network is not None:
            _check_savable(self.model)
        if config.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        if config.ema:
            # Statistics of BatchNorm are averaged with the weights that they belong to.
            average = get_ema_multi_avg_fn(config.ema)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(self.model, multi_avg_fn=average, use_buffers=True)
        optimizer = weight_optimizer(
            config.optimizer,
            trainable_parameters(self.model).values(),
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
        self.optimizers = {"weights": optimizer}

        if config.sync_batch_norm:
            self.synchronize_batch_norm(self.model)
        own = not isinstance(self.context.spec.space.reference, RegisteredRef)  # it may have parameters without use
        self._parallel = self.processes.data_parallel(self.model, find_unused=own)

    def start_epoch(self, epoch: int) -> None:
        """Set learning rate and drop-path."""
        config = self.config
        self.optimizers["weights"].param_groups[0]["lr"] = learning_rate(
            config.schedule, config.lr, config.lr_min, epoch, config.epochs, config.lr_decay
        )
        for module in self.model.modules():
            if isinstance(module, StochasticDepth):
                module.p = config.drop_path * epoch / config.epochs

    def needs_arch_batch(self, epoch: int) -> bool:
        """Return False: there are no architecture parameters."""
        del epoch
        return False

    def train_step(self, train: Batch, arch: Batch | None) -> StepResult:
        """Update the weights, and their average."""
        del arch
        result = self.descend(train, max_norm=self.config.grad_clip)
        if self.average is not None:
            self.processes.share_statistics(self.model)
            self.average.update_parameters(self.model)
        return result

    def predict(self, x: Tensor) -> Any:
        """Return the output of the network; of several processes, DistributedDataParallel averages the gradients."""
        if self.config.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        return self._parallel(x)

    def adding_up(self, *, last: bool) -> AbstractContextManager[Any]:
        """Return the context in which DistributedDataParallel averages the gradients with those of the last piece."""
        parallel = self._parallel
        return nullcontext() if last or not isinstance(parallel, DistributedDataParallel) else parallel.no_sync()

    def add_up_gradients(self) -> None:
        """Make sums of the means that ``backward`` leaves where there are several processes."""
        if self.processes.world_size > 1:
            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(self.processes.world_size)

    def criterion(self, output: Any, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss, smoothed and with that of the auxiliary head, and the main prediction."""
        prediction, auxiliary = self.task.outputs(output)
        smoothing = self.config.label_smoothing
        loss = self.task.loss(prediction, target, label_smoothing=smoothing)
        for other in auxiliary:
            extra = self.task.loss(other.to(prediction.dtype), target, label_smoothing=smoothing)
            loss = loss + self.config.auxiliary_weight * extra
        return loss, prediction

    @property
    def result(self) -> nn.Module:
        """The network that is measured and saved: the average of the weights, or the network itself."""
        return self.model if self.average is None else self.average.module

    def measure(self) -> dict[str, float]:
        """Return all metrics on the validation split, if there is one, and on the test set."""
        found: dict[str, float] = {}
        for split in ("validation", "test"):
            if len(self.context.data.splits[split]):
                found |= self.measure_split(self.result, split, detailed=True)
        self.model.train()
        return found

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Save the weights, and those of the best epoch."""
        del epoch
        save = self.context.save_network
        if save is None:
            return
        save(LAST_WEIGHTS, self.result, metrics)
        objective = self.task.objective
        value = metrics.get(f"validation_{objective.name}", metrics[f"test_{objective.name}"])
        better = self.best is None or (value > self.best if objective.higher_is_better else value < self.best)
        if better:
            self.best = value
            save(BEST_WEIGHTS, self.result, metrics)

    def report_epoch(self, metrics: dict[str, float], seconds: float) -> None:
        """Send ``EpochEnded``."""
        self.emit(
            EpochEnded(
                epoch=self.state.epoch + 1,
                epochs=self.epochs,
                seconds=seconds,
                metrics=metrics,
                architecture=self.context.spec.architecture,
            )
        )

    def final_event(self) -> Event:
        """Return the event that reports the metrics of the last epoch."""
        return RunEnded(self.context.spec.architecture, self.run_path, self.state.metrics)

    def state_dict(self) -> dict[str, Any]:
        """Add the average and the best value of the objective."""
        average = None if self.average is None else self.average.state_dict()
        return {**super().state_dict(), "average": average, "best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        super().load_state_dict(state)
        self.best = state["best"]
        if self.average is not None:
            self.average.load_state_dict(state["average"])


def _check_savable(network: nn.Module) -> None:
    """Check that a weight file, which has nothing but tensors, can hold all that a network saves.

    Raises:
        SpaceError: It cannot.
    """
    others = [name for name, value in network.state_dict().items() if not isinstance(value, Tensor)]
    if others:
        raise SpaceError(
            f"a weight file cannot hold {', '.join(others[:3])} of the network, which is no tensor: return a tensor"
            " from get_extra_state, or do without it"
        )
