"""The base of all trainers: what drives a run to its end, can be interrupted, and reports what happens by events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from nasreg.events import Event
from nasreg.runs.directory import RunDirectory
from nasreg.runs.output import RunOutput
from nasreg.trainers.context import RunContext


class Trainer(ABC):
    """Drives a run to its end.

    Authors derive from ``OneShotTrainer`` or ``BilevelTrainer``; a multi-trial algorithm needs none of its own.

    Args:
        context: The run.

    Attributes:
        output: Where results go; set by ``fit``.
    """

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.task = context.task
        self.output = RunOutput()

    @abstractmethod
    def fit(self, output: RunOutput | None = None) -> None:
        """Drive the run to its end, from where it was interrupted if the run directory says so.

        Args:
            output: Where results go.

        Raises:
            InterruptedRunError: Ctrl-C or SIGTERM; the run can be resumed if it has a directory.
            TrainingError: The training failed.
        """

    @property
    @abstractmethod
    def final_metrics(self) -> Mapping[str, float]:
        """The metrics that the run ended with, by name."""

    def emit(self, event: Event) -> None:
        """Send an event to all callbacks."""
        self.output.emit(event)

    @property
    def run(self) -> RunDirectory | None:
        """The run directory, if there is one."""
        return self.output.directory

    @property
    def run_path(self) -> Path | None:
        """The path of the run directory, if there is one."""
        return self.run.path if self.run else None
