"""Callbacks that record a run: JSON Lines and TensorBoard. Imports no torch until TensorBoard is used.

In the records epochs and steps count from 1, as in everything that a user reads.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from nasreg.errors import ConfigError, RunDirectoryError
from nasreg.events import (
    CheckpointSaved,
    EpochEnded,
    Event,
    RunEnded,
    RunStarted,
    SearchStarted,
    StageStarted,
    StepEnded,
    TrialEnded,
)
from nasreg.runs import files
from nasreg.runs.trials import trial_record
from nasreg.runs.writing import LineFile
from nasreg.specs.finite import finite

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def record(event: EpochEnded | TrialEnded) -> dict[str, Any]:
    """Return the record of an epoch or a trial, with ``epoch`` or ``trial`` under the key ``event``."""
    if isinstance(event, EpochEnded):
        return {"event": "epoch", **_epoch(event)}
    return {"event": "trial", **trial_record(event.trial)}


def of_kind(records: Iterable[Mapping[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Return the records of one kind, without the key ``event``."""
    chosen = [dict(each) for each in records if each.get("event") == kind]
    for each in chosen:
        del each["event"]
    return chosen


def _epoch(event: EpochEnded) -> dict[str, Any]:
    """Return the record of an epoch: number, metrics, seconds, kind of model, diagnostics, strengths and weights."""
    return {
        "epoch": event.epoch,
        **event.metrics,
        "seconds": event.seconds,
        "model": event.model,
        "diagnostics": dict(event.diagnostics),
        "strengths": {key: list(values) for key, values in event.strengths.items()},
        # There may be hundreds of weights, and they are only drawn: four digits are enough.
        "weights": {
            key: [{name: round(weight, 4) for name, weight in row.items()} for row in rows]
            for key, rows in event.weights.items()
        },
    }


class JsonLines:
    """Writes a line of JSON for each step, epoch and stage. A context manager.

    Args:
        path: The file to append to.

    Raises:
        StorageError: The file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = LineFile(path)

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def __call__(self, event: Event) -> None:
        """Write a line for an event that is recorded.

        Raises:
            StorageError: It cannot be written.
        """
        if isinstance(event, StepEnded):
            self._write(
                **{"event": "step", "epoch": event.epoch, "step": event.step, "loss": event.loss, **event.metrics}
            )
        elif isinstance(event, EpochEnded):
            self._write(**record(event))
        elif isinstance(event, StageStarted):
            self._write(event="stage", stage=event.stage, epoch=event.epoch, summary=event.summary)

    def _write(self, **values: Any) -> None:
        self._file.append(json.dumps(finite(values), allow_nan=False).encode())

    def position(self) -> int:
        """Flush the file to disk and return its size, which a checkpoint stores.

        Raises:
            StorageError: It cannot be written.
        """
        self._file.sync()
        return self._file.size()

    def truncate(self, position: int) -> None:
        """Drop the lines after a position, which a resumed run writes again.

        Args:
            position: A size of the file, as ``position`` returned it.

        Raises:
            RunDirectoryError: The file is shorter than that, so it was changed.
        """
        if self._file.size() < position:
            raise RunDirectoryError(
                f"{self._file.path} lost lines since the last checkpoint: the run cannot be resumed"
            )
        self._file.truncate(position)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the lines of ``JsonLines``; an incomplete last line, left by a killed process, is skipped.

    Raises:
        RunDirectoryError: The file cannot be read, or a complete line is not a JSON object.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise RunDirectoryError(f"cannot read {path}: {error}") from error
    records = []
    for number, line in enumerate(lines[:-1], start=1):  # a complete line ends with a newline
        try:
            record = json.loads(line)
        except ValueError as error:
            raise RunDirectoryError(f"{path}, line {number} is not JSON: {error}{_way_out(path)}") from error
        if not isinstance(record, dict):
            raise RunDirectoryError(f"{path}, line {number} is not an object{_way_out(path)}")
        records.append(record)
    return records


def _way_out(path: Path) -> str:
    architecture = shlex.join(["nasreg", "show", str(path.with_name(files.ARCHITECTURE))])
    return f". Remove that line if the run has ended; the architecture alone is shown by: {architecture}"


class TensorBoard:
    """Writes losses, metrics, diagnostics and strengths for TensorBoard, by number of steps.

    Args:
        log_dir: Folder of the files.

    Raises:
        ConfigError: The package tensorboard is not installed.
    """

    def __init__(self, log_dir: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError('TensorBoard files need a package: pip install "nasreg[tensorboard]"') from error
        self._make = SummaryWriter
        self._log_dir = log_dir
        self._writer: SummaryWriter | None = None
        self._steps = 0

    def __call__(self, event: Event) -> None:
        """Write the scalars of an event."""
        if isinstance(event, RunStarted):
            self._steps = event.steps
            first = (event.first_epoch - 1) * event.steps + event.first_step
            # The steps of an interrupted run after its last checkpoint are written again; this hides the first version.
            self._writer = self._make(str(self._log_dir), purge_step=first if first > 1 else None)
        elif isinstance(event, SearchStarted):
            self._writer = self._make(str(self._log_dir), purge_step=event.ended + 1 if event.ended else None)
        if self._writer is None:
            return
        if isinstance(event, TrialEnded) and event.trial.score is not None:
            self._writer.add_scalar(f"trial/{event.objective.name}", event.trial.score.value, event.trial.id)
        elif isinstance(event, StepEnded):
            step = (event.epoch - 1) * event.steps + event.step
            self._writer.add_scalar("step/loss", event.loss, step)
            for name, value in event.metrics.items():
                self._writer.add_scalar(f"step/{name}", value, step)
        elif isinstance(event, EpochEnded):
            step = event.epoch * self._steps
            values = {f"epoch/{name}": value for name, value in event.metrics.items()}
            values |= {f"diagnostics/{_tag(name)}": value for name, value in event.diagnostics.items()}
            for key, strengths in event.strengths.items():
                values |= {f"strength/{key}/{number}": value for number, value in enumerate(strengths)}
            for tag, value in values.items():
                self._writer.add_scalar(tag, value, step)
        elif isinstance(event, CheckpointSaved):
            self._writer.flush()
        elif isinstance(event, RunEnded):
            self._writer.close()


def _tag(name: str) -> str:
    """Return a name with an underscore in place of each character that TensorBoard does not take."""
    return re.sub(r"[^\w./-]", "_", name)
