"""What a run directory holds, for the report. What an older version did not keep, or a run has not yet, is empty."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from nasreg.callbacks import read_metrics
from nasreg.errors import RunDirectoryError
from nasreg.runs import RunDirectory
from nasreg.specs import Architecture, RetrainSpec, RunSpec, SearchSpaceSpec

Weights = dict[str, list[dict[str, float | None]]]
"""Key of a choice -> rows of candidate name -> weight."""


class EpochLine(BaseModel):
    """An epoch in ``metrics.jsonl``; null stands for a number that was not finite."""

    epoch: int
    seconds: float | None = None
    train_loss: float | None = None
    train_accuracy: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    test_loss: float | None = None
    test_accuracy: float | None = None
    strengths: dict[str, list[float | None]] = Field(default_factory=dict)
    weights: Weights = Field(default_factory=dict)

    @property
    def accuracy(self) -> tuple[str, float | None]:
        """The accuracy that counts, and of what it is."""
        retrained = "test_accuracy" in self.model_fields_set
        return ("test", self.test_accuracy) if retrained else ("validation", self.validation_accuracy)


class StageLine(BaseModel):
    """The start of a stage in ``metrics.jsonl``."""

    stage: int
    epoch: int
    summary: str = ""


class TrialLine(BaseModel):
    """A trial in ``metrics.jsonl``."""

    trial: int
    score: float
    parameters: int
    seconds: float


class Status(BaseModel):
    """``status.json``."""

    state: str = "unknown"
    resumed: int = 0
    error: str | None = None
    peak_bytes: int | None = None


class Data(BaseModel):
    """``data.json``."""

    channels: int | None = None
    height: int | None = None
    width: int | None = None
    classes: list[str] = Field(default_factory=list)
    parts: dict[str, int] = Field(default_factory=dict)


class Pass(BaseModel):
    """A latency in ``cost.json``."""

    batch_size: int
    median_ms: float


class Cost(BaseModel):
    """``cost.json``; empty where it was not measured."""

    parameters: int | None = None
    macs: int = 0
    activation_bytes: int = 0
    batch_size: int = 0
    latency: list[Pass] = Field(default_factory=list)


class Environment(BaseModel):
    """``environment.json``."""

    versions: dict[str, str] = Field(default_factory=dict)
    machine: dict[str, str | int | None] = Field(default_factory=dict)
    threads: int | None = None
    command: list[str] = Field(default_factory=list)
    started: str = ""


@dataclass(frozen=True)
class Mark:
    """An epoch with which something new starts: a stage, or a trial."""

    epoch: int
    label: str


@dataclass(frozen=True)
class Contents:
    """A run, as far as it has come."""

    run: RunDirectory
    spec: RunSpec | RetrainSpec
    space: SearchSpaceSpec
    status: Status
    environment: Environment
    cost: Cost
    data: Data
    epochs: list[EpochLine]
    stages: list[StageLine]
    trials: list[TrialLine]
    marks: list[Mark]
    derived: dict[int, Architecture]
    """Epoch -> what would have been derived after it."""
    found: Architecture | None
    """The result; the last of ``derived`` where the run has not ended."""
    pictures: list[Path]
    """Pictures that the algorithm put into ``stages/``."""

    @property
    def parts(self) -> list[str]:
        """Parts of the data that loss and accuracy were measured on."""
        names = ("train", "validation", "test")
        return [name for name in names if any(f"{name}_loss" in line.model_fields_set for line in self.epochs)]


def read_contents(run: RunDirectory) -> Contents:
    """Read a run directory.

    Raises:
        NasregError: It is no run, or a file in it is damaged.
    """
    spec, space = run.spec, run.space
    path = run.path / "metrics.jsonl"
    lines = read_metrics(path) if path.exists() else []
    epochs = _lines(path, lines, "epoch", EpochLine)
    stages = _lines(path, lines, "stage", StageLine)
    trials = _lines(path, lines, "trial", TrialLine)
    # Of an epoch that was begun again after a crash there may be a file, but no line: it will be written anew.
    files = {_number(path): path for path in (run.path / "architectures").glob("epoch-*.json")}
    derived = {line.epoch: Architecture.load(files[line.epoch]) for line in epochs if line.epoch in files}
    found = run.architecture if (run.path / "architecture.json").exists() else None
    for architecture in [*derived.values(), *([found] if found else [])]:
        space.validate(architecture)
    return Contents(
        run=run,
        spec=spec,
        space=space,
        status=_file(run, "status.json", Status),
        environment=_file(run, "environment.json", Environment),
        cost=_file(run, "cost.json", Cost),
        data=_file(run, "data.json", Data),
        epochs=epochs,
        stages=stages,
        trials=trials,
        marks=[Mark(line.epoch, f"stage {line.stage}") for line in stages] or _trial_marks(lines, trials),
        derived=derived,
        found=found or (derived[max(derived)] if derived else None),
        pictures=sorted((run.path / "stages").glob("*.svg"), key=_number),
    )


_Model = TypeVar("_Model", bound=BaseModel)


def _file(run: RunDirectory, name: str, kind: type[_Model]) -> _Model:
    value = run.read_json(name) if (run.path / name).exists() else {}
    return _validated(kind, value, f"{run.path / name} is not what it should be")


def _validated(kind: type[_Model], value: Any, problem: str) -> _Model:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = f"{'.'.join(map(str, first['loc']))}: " if first["loc"] else ""
        raise RunDirectoryError(f"{problem}: {place}{first['msg']}") from error


def _lines(path: Path, lines: list[dict[str, Any]], event: str, kind: type[_Model]) -> list[_Model]:
    problem = f"{path} has a line that describes no {event}"
    return [_validated(kind, line, problem) for line in lines if line.get("event") == event]


def _trial_marks(lines: list[dict[str, Any]], trials: list[TrialLine]) -> list[Mark]:
    """Find the first epoch of each trial: a trial's line comes just before that of its last epoch."""
    if not trials:
        return []
    kinds = [line["event"] for line in lines if line.get("event") in ("epoch", "trial")]
    last = [kinds[: place + 1].count("epoch") + 1 for place, kind in enumerate(kinds) if kind == "trial"]
    starts = [1, *(epoch + 1 for epoch in last)][: kinds.count("epoch")]
    return [Mark(start, f"trial {number}") for number, start in enumerate(starts, 1) if start <= kinds.count("epoch")]


def _number(path: Path) -> int:
    found = re.search(r"\d+", path.stem)
    return int(found[0]) if found else 0
