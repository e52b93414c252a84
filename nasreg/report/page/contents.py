"""The contents of a run directory, parsed for the page.

Whatever the run has not reached yet is empty.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import AliasChoices, BaseModel, Field, ValidationError, model_validator

from nasreg.errors import RunDirectoryError
from nasreg.runs import files
from nasreg.runs.callbacks import read_metrics
from nasreg.runs.directory import RunDirectory
from nasreg.runs.trial_summary import TrialSummary, summarize_trials
from nasreg.specs import Architecture, RetrainSpec, RunSpec, SearchSpaceSpec
from nasreg.specs.metrics import LOSS, SPLITS, MetricSpec, metric_spec, split_name
from nasreg.specs.trial import COSTS

Weights = dict[str, list[dict[str, float | None]]]
"""Key of a choice -> rows of candidate name -> weight."""


MAX_TRIALS = 50
"""Trials in the table."""


class EpochLine(BaseModel):
    """An epoch in ``metrics.jsonl``; None stands for a number that was not finite."""

    epoch: int
    seconds: float | None = None
    model: str | None = None
    metrics: dict[str, float | None] = Field(default_factory=dict)
    diagnostics: dict[str, float | None] = Field(default_factory=dict)
    strengths: dict[str, list[float | None]] = Field(default_factory=dict)
    weights: Weights = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _collect_metrics(cls, line: Any) -> Any:
        """Move the metrics, which are all other numbers of the line, into ``metrics``."""
        if not isinstance(line, dict):
            return line
        known = cls.model_fields.keys()
        metrics = {
            name: value
            for name, value in line.items()
            if name not in known and (value is None or isinstance(value, int | float))
        }
        return {name: value for name, value in line.items() if name in known} | {"metrics": metrics}


class StageLine(BaseModel):
    """The start of a stage in ``metrics.jsonl``."""

    stage: int
    epoch: int
    summary: str = ""


class Objective(BaseModel):
    """``objective.json``; empty in a run that has no trials."""

    objective: MetricSpec | None = None
    metrics: list[MetricSpec] = Field(default_factory=list)
    objectives: list[MetricSpec] = Field(default_factory=list)


class Status(BaseModel):
    """``status.json``."""

    state: str = "unknown"
    resumed: int = 0
    error: str | None = None
    peak_bytes: int | None = None


class Data(BaseModel):
    """``data.json``."""

    fingerprint: str | None = None
    """None where no data were loaded."""
    channels: int | None = None
    height: int | None = None
    width: int | None = None
    classes: list[str] = Field(default_factory=list)
    splits: dict[str, int] = Field(default_factory=dict, validation_alias=AliasChoices("splits", "parts"))


class Latency(BaseModel):
    """A latency in ``cost.json``."""

    batch_size: int
    median_ms: float


class Cost(BaseModel):
    """``cost.json``; empty where the network was not measured."""

    parameters: int | None = None
    macs: int = 0
    activation_bytes: int = 0
    batch_size: int = 0
    latency: list[Latency] = Field(default_factory=list)


class Environment(BaseModel):
    """``environment.json``."""

    versions: dict[str, str] = Field(default_factory=dict)
    machine: dict[str, str | int | None] = Field(default_factory=dict)
    threads: int | None = None
    command: list[str] = Field(default_factory=list)
    started: str = ""


@dataclass(frozen=True)
class Mark:
    """An epoch with which a stage starts."""

    epoch: int
    label: str


@dataclass(frozen=True)
class RunContents:
    """A run as it is now."""

    run: RunDirectory
    spec: RunSpec | RetrainSpec
    space: SearchSpaceSpec
    status: Status
    environment: Environment
    cost: Cost
    data: Data
    epochs: list[EpochLine]
    stages: list[StageLine]
    trials: TrialSummary | None
    """The trials; None in a run that has none."""
    trial_metrics: Sequence[MetricSpec]
    """What else may have been measured of a trial."""
    marks: list[Mark]
    derived: dict[int, Architecture]
    """Epoch -> the architecture that would have been derived after it."""
    found: Architecture | None
    """The result; where the run has not ended the last of ``derived``, or that of the best trial."""
    stage_drawings: list[Path]
    """Drawings that the algorithm wrote to ``stages/``."""
    metrics: Sequence[MetricSpec]
    """The metrics of the task."""

    @property
    def used_data(self) -> bool:
        """Whether images were loaded: an evaluator may need none."""
        return self.trials is None or self.data.fingerprint is not None

    @property
    def metric_names(self) -> list[str]:
        """The recorded metrics: by split, then in the order of the task's metrics, then the others."""
        names = dict.fromkeys(name for line in self.epochs for name in line.metrics)
        splits = {split: number for number, split in enumerate((*SPLITS, None))}
        known = {spec.name: number for number, spec in enumerate(self.metrics)}

        def place(name: str) -> tuple[int, int]:
            split, metric = split_name(name)
            return splits[split], known.get(metric, len(known))

        return sorted(names, key=place)

    def metric(self, name: str) -> MetricSpec:
        """Return the spec of a recorded metric."""
        return metric_spec(name, self.metrics)

    @property
    def main_metric(self) -> str | None:
        """The metric to show first: of the task's metrics the first other than the loss, on the test split if possible.

        Without a test split it is that of the validation split, else of the arch or the training split.
        """
        order = [spec.name for spec in self.metrics if spec.name != LOSS.name] + [LOSS.name]
        candidates = [f"{split}_{name}" for split in ("test", "validation", "arch", "train") for name in order]
        recorded = self.metric_names
        return next((name for name in candidates if name in recorded), None)

    @property
    def trains_supernet(self) -> bool:
        """Whether the metrics of the epochs are those of a supernet, and not of the architecture found."""
        return any(line.model == "supernet" for line in self.epochs)


def read_contents(run: RunDirectory, metrics: Sequence[MetricSpec]) -> RunContents:
    """Read a run directory.

    Args:
        run: The run directory.
        metrics: The metrics of the task.

    Raises:
        NasregError: The directory is no run, or a file in it is damaged.
    """
    spec, space = run.spec, run.space
    status = _file(run, files.STATUS, Status)
    path = run.path / files.METRICS
    objective = _file(run, files.OBJECTIVE, Objective)
    trials = None
    if objective.objective is not None:
        trials = summarize_trials(run.path / files.TRIALS, objective.objective, MAX_TRIALS, objective.objectives)
    if status.state == "done":
        _check_complete(path if trials is None else run.path / files.TRIALS)
    lines = read_metrics(path) if path.exists() else []
    epochs = _lines(path, lines, "epoch", EpochLine)
    stages = _lines(path, lines, "stage", StageLine)
    # An epoch that is repeated after a crash may have a file, but no line: it will be written again.
    paths = {_number(path): path for path in (run.path / files.ARCHITECTURES).glob("epoch-*.json")}
    if status.state == "done" and trials is None:
        _check_epochs(path, epochs, max([spec.trainer.get("epochs", 1), *paths]))
    derived = {line.epoch: Architecture.load(paths[line.epoch]) for line in epochs if line.epoch in paths}
    found = _found(run, derived, trials)
    for architecture in [*derived.values(), *([found] if found else [])]:
        space.validate(architecture)
    return RunContents(
        run=run,
        spec=spec,
        space=space,
        status=status,
        environment=_file(run, files.ENVIRONMENT, Environment),
        cost=_file(run, files.COST, Cost),
        data=_file(run, files.DATA, Data),
        epochs=epochs,
        stages=stages,
        trials=trials,
        trial_metrics=[*objective.metrics, *COSTS],
        marks=[Mark(line.epoch, f"stage {line.stage}") for line in stages],
        derived=derived,
        found=found,
        stage_drawings=sorted((run.path / "stages").glob("*.svg"), key=_number),
        metrics=metrics,
    )


def _found(run: RunDirectory, derived: dict[int, Architecture], trials: TrialSummary | None) -> Architecture | None:
    """Return the result, or what would be the result if the run ended now."""
    if (run.path / files.ARCHITECTURE).exists():
        return run.architecture
    if derived:
        return derived[max(derived)]
    if trials is None or not trials.scores:
        return None
    decisions = trials.best[0].get("architecture")
    if not isinstance(decisions, dict):
        raise RunDirectoryError(f"{run.path / files.TRIALS}: trial {trials.best[0]['trial']} has no architecture")
    return run.space.architecture(decisions)


def _check_complete(path: Path) -> None:
    """Check that the file of a finished run ends with a complete line: only that of an unfinished run may not."""
    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 1))
            last = file.read()
    except OSError as error:
        raise RunDirectoryError(f"cannot read {path}: {error}") from error
    if last != b"\n":
        raise RunDirectoryError(f"{path} is damaged: the run is done, but the last line of the file is incomplete")


def _check_epochs(path: Path, epochs: Sequence[EpochLine], expected: int) -> None:
    """Check that a finished run has so many epochs, without which a page would have no charts."""
    recorded = max((line.epoch for line in epochs), default=0)
    if recorded < expected:
        raise RunDirectoryError(
            f"{path} is damaged: it ends with epoch {recorded} of {expected}. The result of the run is not affected;"
            " a page needs the whole file"
        )


_Model = TypeVar("_Model", bound=BaseModel)


def _file(run: RunDirectory, name: str, kind: type[_Model]) -> _Model:
    value = run.read_json(name) if (run.path / name).exists() else {}
    return _validated(kind, value, f"{run.path / name} is damaged")


def _validated(kind: type[_Model], value: Any, problem: str) -> _Model:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = f"{'.'.join(map(str, first['loc']))}: " if first["loc"] else ""
        raise RunDirectoryError(f"{problem}: {place}{first['msg']}") from error


def _lines(path: Path, lines: list[dict[str, Any]], event: str, kind: type[_Model]) -> list[_Model]:
    problem = f"{path} has an invalid line of kind {event}"
    return [_validated(kind, line, problem) for line in lines if line.get("event") == event]


def _number(path: Path) -> int:
    found = re.search(r"\d+", path.stem)
    return int(found[0]) if found else 0
