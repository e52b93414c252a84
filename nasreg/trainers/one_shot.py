"""The base of one-shot trainers: one supernet, trained together with its mutator."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn

from nasreg.errors import SpaceError, TrainingError
from nasreg.events import EpochEnded, Event, NetworkMeasured, Notice, RunEnded, TrainedModel
from nasreg.mutators.base import OneShotMutator
from nasreg.nn import Execution, extract_space, freeze, recalibrate_batch_norm, set_execution
from nasreg.nn.recalibrate import running_norms
from nasreg.runs.files import epoch_architecture
from nasreg.specs.cost_table import CostTable
from nasreg.specs.metrics import metric_spec
from nasreg.trainers.config import OneShotTrainerConfig
from nasreg.trainers.context import OneShotContext
from nasreg.trainers.cost_tables import find_table
from nasreg.trainers.loop import EpochTrainer

if TYPE_CHECKING:
    from nasreg.data import Batch


class OneShotTrainer(EpochTrainer):
    """Trains a supernet and its mutator, which knows an architecture at any time.

    A subclass makes its optimisers in ``setup``, after ``super().setup()``, and does one step in ``train_step``.

    A search in which the mutator has parameters and none of them ever changes means nothing and is an error, as is one
    on a model that uses none of its choices.

    Attributes:
        mutator: Decides the choices.
    """

    context: OneShotContext
    config: OneShotTrainerConfig
    mutator: OneShotMutator
    trained_model: ClassVar[TrainedModel] = "supernet"

    def __init__(self, context: OneShotContext, config: OneShotTrainerConfig) -> None:
        super().__init__(context, config)
        self._learned = False
        """Whether a step has changed the mutator."""
        self._told = False

    @property
    def epochs(self) -> int:
        """All epochs of the search."""
        return self.config.epochs

    def setup(self) -> None:
        """Build the supernet and the mutator, and attach one to the other.

        Raises:
            SpaceError: The model has no search space, or one that contradicts itself.
        """
        self.model = self.build()
        self.mutator = self.context.make_mutator(extract_space(self.model)).to(self.context.device)
        self.mutator.attach(self.model)

    def start_epoch(self, epoch: int) -> None:
        """Let the mutator follow its schedule, whose length is ``config.epochs``."""
        self.mutator.start_epoch(epoch, self.config.epochs)

    def build(self, **capabilities: Any) -> nn.Module:
        """Build a supernet on the device that computes as the options say; takes what ``build_supernet`` does."""
        model = self.context.build_supernet(**capabilities).to(self.context.device)
        self.extend_supernet(model)
        execute_as(self.execution(), model, self.context.device)
        if self.config.sync_batch_norm:
            self.synchronize_batch_norm(model)
        return model

    def extend_supernet(self, model: nn.Module) -> None:  # nothing to add is a good default
        """Add parts to a new supernet that the options ask for.

        Raises:
            SpaceError: The space cannot have them.
        """

    def cost_table(self, names: Collection[str], supernet: nn.Module) -> CostTable:
        """Return costs of the blocks of a supernet: given, else as the run has recorded them, else measured.

        Args:
            names: Which of ``parameters``, ``macs`` and ``latency_ms``.
            supernet: The present one, without parts that no network has.

        Raises:
            ConfigError: The given file cannot be read, or is not of this supernet.
            SpaceError: The costs of a block depend on too much.
        """
        measure = self.context.measure_blocks
        if measure is None:
            raise TypeError("the context of this search measures no blocks")
        processes = self.context.processes
        # Latencies that each process measures would differ.
        table = find_table(supernet, names, measure, self.config.block_costs, self.run) if processes.is_first else None
        return cast("CostTable", processes.from_first(table))

    def trained_modules(self) -> list[nn.Module]:
        """Return the supernet and the mutator."""
        return [self.model, self.mutator]

    def execution(self) -> Execution:
        """Return how the choices of a supernet compute, as the options say."""
        config = self.config
        return Execution(optimized=config.execution == "optimized", checkpoint=config.activation_checkpointing)

    def supernet(self) -> nn.Module | None:
        """Return the trained supernet with its choices undecided again."""
        self.mutator.detach(self.model)
        set_execution(self.model, Execution())
        self.context.processes.localize_batch_norm(self.model)
        _set_memory_format(self.model, None)
        return self.model

    def _step(self, train: Batch, arch: Batch | None, steps: int) -> None:
        with self._checking_use():
            super()._step(train, arch, steps)

    def _arch_step(self, arch: Batch, steps: int) -> None:
        with self._checking_use():
            super()._arch_step(arch, steps)

    @contextmanager
    def _checking_use(self) -> Iterator[None]:
        """Check that a step uses the choices, and note whether it changes the mutator."""
        before = None if self._learned else [tensor.clone() for tensor in self._mutable()]
        try:
            yield
        except RuntimeError as error:
            if "does not require grad" not in str(error):  # of the loss, by architecture parameters or weights
                raise
            self._check_used(error)
            raise SpaceError(
                f"the loss of the model {type(self.model).__name__} depends on no parameter that is trained: does it"
                " detach what its choices compute?"
            ) from error
        if before is not None:
            self._check_used(None)
            self._learned = any(not torch.equal(*pair) for pair in zip(before, self._mutable(), strict=True))

    def _mutable(self) -> list[Tensor]:
        return [*self.mutator.parameters(), *self.mutator.buffers()]

    def _check_used(self, error: Exception | None) -> None:
        if not self.mutator.asked:
            raise SpaceError(
                f"the model {type(self.model).__name__} uses none of its choices when it is called, so that there is"
                f" nothing to search: call {self.mutator.space.choices[0].key!r} in its forward method"
            ) from error

    def _check_learned(self) -> None:
        """Check, at the end of an epoch, that the architecture parameters have changed, if there are any.

        Raises:
            TrainingError: They have not in the whole search.
        """
        if self._learned or not any(parameter.requires_grad for parameter in self.mutator.parameters()):
            return
        epoch = self.state.epoch
        if epoch + 1 == self.epochs:
            raise TrainingError(
                "no architecture parameter changed in the whole search, so that the architecture would mean nothing:"
                " raise their learning rate, in a new run"
            )
        if self.needs_arch_batch(epoch) and not self._told:
            self._told = True
            self.emit(Notice(f"no architecture parameter changed in epoch {epoch + 1}: check their learning rate"))

    def _tell_unused(self) -> None:
        unused = [choice.key for choice in self.mutator.space.choices if choice.key not in self.mutator.asked]
        if unused and self.state.epoch == 0:
            self.emit(
                Notice(
                    f"the model did not use {', '.join(map(repr, unused[:3]))}{', ...' if unused[3:] else ''} in epoch"
                    " 1: what is decided there means nothing if it never does"
                )
            )

    def measure_network(self) -> NetworkMeasured | None:
        """Measure, after the search, the network found with the weights of the supernet, without training it.

        Returns:
            Its objective on the split that the supernet is measured on; None if that is neither validation nor arch.
        """
        splits = self.context.data.splits
        split = next((name for name in ("validation", "arch") if len(splits[name])), None)
        metric = metric_spec(f"{split}_{self.task.objective.name}", self.task.metrics)
        supernet, value = self.supernet(), self.state.metrics.get(metric.name)
        if split is None or supernet is None or value is None:
            return None
        decisions = self.mutator.architecture().decisions
        try:
            network = freeze(supernet, extract_space(supernet).architecture(decisions)).to(self.context.device)
            inherited = self.measure_split(network, split)[metric.name]
            recalibrated = None
            if running_norms(network):
                self.recalibrate(network)
                recalibrated = self.measure_split(network, split)[metric.name]
        finally:
            self.context.data.close()
        return NetworkMeasured(metric, value, inherited, recalibrated)

    def recalibrate(self, network: nn.Module) -> None:
        """Renew the BatchNorm statistics of a network by a pass over the train split."""
        batches = self.context.data.splits["train"].batches(batch_size=self.config.batch_size, epoch=0)
        try:
            recalibrate_batch_norm(network, (inputs for inputs, _ in batches))
        finally:
            self.context.data.close()

    def report_epoch(self, metrics: dict[str, float], seconds: float) -> None:
        """Save the architecture of the epoch, and report it with what the mutator says of it.

        Raises:
            TrainingError: It is the last epoch, and no architecture parameter has ever changed.
        """
        self._check_learned()
        self._tell_unused()
        architecture = self.mutator.architecture()
        epoch = self.state.epoch + 1
        if self.run:
            self.run.write_text(epoch_architecture(epoch), architecture.to_json())
        self.emit(
            EpochEnded(
                epoch=epoch,
                epochs=self.epochs,
                seconds=seconds,
                metrics=metrics,
                architecture=architecture,
                strengths=self.mutator.strengths(),
                diagnostics={**self.mutator.diagnostics(architecture), **self.context.diagnostics(architecture)},
                weights=self.mutator.weights(),
                model=self.trained_model,
            )
        )
        for message in self.mutator.warnings(architecture):
            self.emit(Notice(message))

    def final_event(self) -> Event:
        """Return the event that reports the architecture found."""
        return RunEnded(self.mutator.architecture(), self.run_path, self.state.metrics)

    def state_dict(self) -> dict[str, Any]:
        """Add the mutator, and whether it has learned anything."""
        return {**super().state_dict(), "mutator": self.mutator.state_dict(), "learned": self._learned}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        super().load_state_dict(state)
        self.mutator.load_state_dict(state["mutator"])
        self._learned = state["learned"]


def execute_as(execution: Execution, model: nn.Module, device: torch.device) -> None:
    """Let a supernet compute in some way; the optimised one also takes the memory format that suits a CPU."""
    set_execution(model, execution)
    if execution.optimized and device.type == "cpu":
        _set_memory_format(model, torch.channels_last)


def _set_memory_format(model: nn.Module, memory_format: torch.memory_format | None) -> None:
    """Set the memory format of a model that has an attribute for it; such a model works with either."""
    if hasattr(model, "memory_format"):
        model.memory_format = memory_format  # type: ignore[assignment]  # torch knows of tensors and modules only
