"""The base of one-shot trainers: one supernet, trained together with its mutator."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from nasreg.events import EpochEnded, Event, Notice, RunEnded, TrainedModel
from nasreg.mutators.base import OneShotMutator
from nasreg.nn import Execution, extract_space, set_execution
from nasreg.runs.files import epoch_architecture
from nasreg.trainers.config import OneShotTrainerConfig
from nasreg.trainers.context import OneShotContext
from nasreg.trainers.loop import EpochTrainer


class OneShotTrainer(EpochTrainer):
    """Trains a supernet and its mutator, which knows an architecture at any time.

    A subclass makes its optimisers in ``setup``, after ``super().setup()``, and does one step in ``train_step``.

    Attributes:
        mutator: Decides the choices.
    """

    context: OneShotContext
    config: OneShotTrainerConfig
    mutator: OneShotMutator
    trained_model: ClassVar[TrainedModel] = "supernet"

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

    def build(self, **capabilities: Any) -> nn.Module:
        """Build a supernet on the device that computes as the options say; takes what ``build_supernet`` does."""
        model = self.context.build_supernet(**capabilities).to(self.context.device)
        execution = self.execution()
        set_execution(model, execution)
        if execution.optimized and self.context.device.type == "cpu":
            _set_memory_format(model, torch.channels_last)
        return model

    def execution(self) -> Execution:
        """Return how the choices of a supernet compute, as the options say."""
        config = self.config
        return Execution(optimized=config.execution == "optimized", checkpoint=config.activation_checkpointing)

    def supernet(self) -> nn.Module | None:
        """Return the trained supernet with its choices undecided again."""
        self.mutator.detach(self.model)
        set_execution(self.model, Execution())
        _set_memory_format(self.model, None)
        return self.model

    def report_epoch(self, metrics: dict[str, float], seconds: float) -> None:
        """Save the architecture of the epoch, and report it with what the mutator says of it."""
        architecture = self.mutator.architecture()
        epoch = self.state.epoch
        if self.run:
            self.run.write_text(epoch_architecture(epoch + 1), architecture.to_json())
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
        """Add the mutator."""
        return {**super().state_dict(), "mutator": self.mutator.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        super().load_state_dict(state)
        self.mutator.load_state_dict(state["mutator"])


def _set_memory_format(model: nn.Module, memory_format: torch.memory_format | None) -> None:
    """Set the memory format of a model that has an attribute for it; such a model works with either."""
    if hasattr(model, "memory_format"):
        model.memory_format = memory_format  # type: ignore[assignment]  # torch knows of tensors and modules only
