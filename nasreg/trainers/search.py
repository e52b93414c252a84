"""The base of all search trainers: the loop, with a mutator that knows an architecture at any time."""

from __future__ import annotations

from typing import Any

from torch import nn

from nasreg.events import EpochEnded, Event, Notice, RunEnded
from nasreg.mutators.base import Mutator
from nasreg.runs.files import epoch_architecture
from nasreg.trainers.base import BaseTrainer
from nasreg.trainers.context import SearchContext


class SearchTrainer(BaseTrainer):
    """Trains a model, epoch by epoch, and has a mutator that knows an architecture at any time.

    Authors derive from ``OneShotTrainer``, ``BilevelTrainer`` or ``MultiTrialTrainer``.

    Args:
        context: The search.
        config: Options.

    Attributes:
        mutator: Decides the choices.
    """

    context: SearchContext
    mutator: Mutator

    def supernet(self) -> nn.Module | None:
        """Return the trained supernet with its choices undecided again; None in a family that has none."""
        return None

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
                diagnostics=self.mutator.diagnostics(architecture),
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
