"""The default evaluator: trains the network of a proposal for some epochs, and scores it on the validation split.

A trial is a small run of its own in ``trials/ID/`` of the run directory, with a checkpoint after each epoch, so that an
interrupted search resumes in the middle of a trial. Only the network of the proposal is built, not the supernet.
"""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from nasreg.data.splits import Batch
from nasreg.errors import ConfigError, WeightsError
from nasreg.evaluators.base import Evaluator, EvaluatorContext
from nasreg.evaluators.config import TrainingEvaluatorConfig
from nasreg.events import EpochEnded, Event, MemoryMeasured, Notice, RunEnded, StepEnded, TrialProgress
from nasreg.nn.parameters import parameter_count
from nasreg.runs import files
from nasreg.runs.callbacks import JsonLines
from nasreg.runs.directory import RunDirectory
from nasreg.runs.output import RunOutput
from nasreg.runs.writing import atomic_write
from nasreg.specs.architecture import Architecture
from nasreg.specs.base import parse, resolve
from nasreg.specs.metrics import MetricSpec, metric_spec
from nasreg.specs.trial import PARAMETERS, Proposal, Score
from nasreg.trainers.context import DataContext
from nasreg.trainers.functional import learning_rate, trainable_parameters, weight_optimizer
from nasreg.trainers.loop import EpochTrainer
from nasreg.trainers.steps import StepResult

if TYPE_CHECKING:
    from nasreg.data import RunData


class TrainingEvaluator(Evaluator):
    """Trains each proposal; its score is the objective of the task on the validation split after the last epoch.

    Raises:
        ConfigError: The validation split is empty, or the weights of parents are wanted and there is no directory.
    """

    config: TrainingEvaluatorConfig

    def __init__(self, context: EvaluatorContext, config: TrainingEvaluatorConfig) -> None:
        super().__init__(context, config)
        self._kept: dict[int, tuple[Architecture, Mapping[str, Tensor]]] = {}
        """Architectures and weights of trials by id, in a search without a run directory."""
        self._inherit: Callable[[Architecture, Architecture, Mapping[str, Tensor]], Mapping[str, Tensor]] | None = None
        if config.inherit_weights and config.inherit_function is not None:
            self._inherit = resolve(config.inherit_function, "evaluator.inherit_function")
            if not callable(self._inherit):
                raise ConfigError(f"evaluator.inherit_function: {config.inherit_function!r} is not a function")
        self._measured_memory = False
        if not len(self._data.splits["validation"]):
            raise ConfigError(
                "the validation split, on which trials are scored, is empty: set dataset.validation_fraction"
            )
        if context.directory is None and config.keep_weights:
            raise ConfigError("evaluator.keep_weights needs a run directory")
        if context.directory is None and config.inherit_weights and context.spec.executor.title != "serial":
            raise ConfigError("evaluator.inherit_weights with worker processes needs a run directory")

    @property
    def _data(self) -> RunData:
        if self.context.data is None:
            raise ConfigError("the evaluator that trains needs data")
        return self.context.data

    @property
    def objective(self) -> MetricSpec:
        """The objective of the task on the validation split."""
        return metric_spec(f"validation_{self.context.task.objective.name}", self.context.task.metrics)

    @property
    def metrics(self) -> Sequence[MetricSpec]:
        """The other metrics of the last epoch, and the number of parameters."""
        names = [f"{split}_{metric.name}" for split in ("train", "validation") for metric in self.context.task.metrics]
        others = [metric_spec(name, self.context.task.metrics) for name in names if name != self.objective.name]
        return (*others, PARAMETERS)

    def evaluate(self, proposal: Proposal) -> Score:
        """Train the network of a proposal, from its last checkpoint if it has one.

        Raises:
            ConfigError: The proposal has options that do not exist.
            TrainingError: Out of memory, or a loss that is not finite.
            InterruptedRunError: A signal; a checkpoint was written.
        """
        trainer = self.make_trainer(proposal)
        with self._output(proposal) as output:
            trainer.fit(output)
            if trainer.config.keep_weights or self.config.inherit_weights:  # also of one that inherits none itself
                self._save(proposal, trainer.model, output.directory)
        metrics = dict(trainer.final_metrics)
        value = metrics.pop(self.objective.name)
        return self.score(value, **metrics, parameters=parameter_count(trainer.model))

    def make_trainer(self, proposal: Proposal) -> TrialTrainer:
        """Return the trainer of the network of a proposal, which is not built yet.

        Raises:
            ConfigError: The proposal has options that do not exist.
        """
        context = self.context
        config = parse(type(self.config), {**self.config.model_dump(), **proposal.options}, "evaluator")
        config = config.model_copy(update={"epochs": max(1, round(config.epochs * proposal.fidelity))})
        trial_context = TrialContext(
            spec=context.spec.model_copy(update={"seed": self.seed(proposal)}),
            space=context.space,
            task=context.task,
            device=context.device,
            data=self._data,
            proposal=proposal,
            build=lambda: self.build(proposal, inherits=config.inherit_weights),
        )
        return TrialTrainer(trial_context, config)

    @contextlib.contextmanager
    def _output(self, proposal: Proposal) -> Any:
        def progress(event: Event) -> None:
            if isinstance(event, MemoryMeasured):
                if self._measured_memory:
                    return
                self._measured_memory = True
            if isinstance(event, TrialProgress | MemoryMeasured | Notice):
                self.context.emit(event)

        if self.context.directory is None:
            yield RunOutput(callbacks=[progress])
            return
        directory = RunDirectory(self.context.directory.path / files.trial_directory(proposal.id))
        with directory.lock():
            directory.write_text(files.ARCHITECTURE, proposal.architecture.to_json())
            with JsonLines(directory.path / files.METRICS) as metrics:
                yield RunOutput(directory, metrics, [metrics, progress])

    def build(self, proposal: Proposal, *, inherits: bool) -> nn.Module:
        """Return the network of a proposal with its first weights: new ones, or those of its parent where they fit."""
        network = self.context.build_network(proposal.architecture)
        if inherits and proposal.parent is not None:
            parent, weights = self._load(proposal.parent)
            if parent is not None and self._inherit is not None:
                weights = self._inherit(parent, proposal.architecture, weights)
            inherit(network, weights)
        return network

    def _save(self, proposal: Proposal, network: nn.Module, directory: RunDirectory | None) -> None:
        weights = {name: value.detach().cpu() for name, value in network.state_dict().items()}
        if directory is None:
            self._kept[proposal.id] = proposal.architecture, weights
            return
        with atomic_write(directory.path / files.TRIAL_WEIGHTS) as file:
            torch.save(weights, file)

    def _load(self, trial: int) -> tuple[Architecture | None, Mapping[str, Tensor]]:
        """Return the architecture and the weights of a trial; None and no weights if it failed."""
        if self.context.directory is None:
            return self._kept.get(trial, (None, {}))
        folder = self.context.directory.path / files.trial_directory(trial)
        path: Path = folder / files.TRIAL_WEIGHTS
        if not path.exists():
            return None, {}
        try:
            weights: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
            raise WeightsError(f"the weights of trial {trial} cannot be read from {path}: {error}") from error
        return Architecture.load(folder / files.ARCHITECTURE), weights


def inherit(network: nn.Module, weights: Mapping[str, Tensor]) -> int:
    """Copy weights into a network where names and shapes agree.

    Args:
        network: Its parameters and buffers are changed.
        weights: Those of another network, by name.

    Returns:
        The number of tensors that were copied.
    """
    own = network.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    network.load_state_dict(fitting, strict=False)
    return len(fitting)


@dataclass(frozen=True, kw_only=True)
class TrialContext(DataContext):
    """The context of the training of one proposal."""

    proposal: Proposal
    build: Any
    """Builds its network."""


class TrialTrainer(EpochTrainer):
    """Trains the network of one proposal."""

    section: ClassVar[str] = "evaluator"
    context: TrialContext
    config: TrainingEvaluatorConfig

    @property
    def epochs(self) -> int:
        """All epochs of the trial."""
        return self.config.epochs

    def setup(self) -> None:
        """Build the network and the optimiser."""
        self.model = self.context.build().to(self.context.device)
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
        """Update the weights."""
        del arch
        return self.descend(train, max_norm=self.config.grad_clip)

    def report_epoch(self, metrics: dict[str, float], seconds: float) -> None:
        """Send ``EpochEnded``."""
        architecture = self.context.proposal.architecture
        self.emit(EpochEnded(self.state.epoch + 1, self.epochs, seconds, metrics, architecture))

    def emit(self, event: Event) -> None:
        """Send an event to the callbacks, and for the search the position in the trial."""
        super().emit(event)
        if isinstance(event, StepEnded):
            position = (event.epoch, self.epochs, event.step, event.steps)
            super().emit(TrialProgress(self.context.proposal.id, *position))

    def final_event(self) -> Event:
        """Return the event that reports the metrics of the last epoch."""
        return RunEnded(self.context.proposal.architecture, self.run_path, self.state.metrics)
