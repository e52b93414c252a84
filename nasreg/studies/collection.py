"""Reads runs back: what each found, what it cost, and how good its best architecture was after each evaluation.

Only the points at which the best so far changes are kept, so that a study of many trials takes little memory. Imports
no torch.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from nasreg.config.notation import architecture_text, recorded_entry
from nasreg.errors import RunDirectoryError
from nasreg.runs import files
from nasreg.runs.callbacks import read_metrics
from nasreg.runs.directory import RunDirectory
from nasreg.runs.trials import read_trials
from nasreg.specs import Architecture, Fact, MetricSpec, RetrainSpec, RunSpec, SearchSpaceSpec
from nasreg.specs.formatting import option_text, shorten
from nasreg.specs.metrics import metric_spec, task_metrics
from nasreg.specs.references import reference_title
from nasreg.specs.trial import SIMULATED_SECONDS, best_first_key
from nasreg.studies.directory import RETRAINED, RUNS, SCORE, StudyDirectory
from nasreg.studies.planning import Plan, PlannedRun


class Point(NamedTuple):
    """The best so far, from some moment on."""

    evaluations: int
    """Trials that had ended, failed ones included; epochs in a one-shot search."""
    seconds: float
    """Time that they had taken, in seconds: of evaluations the simulated time where there is one."""
    value: float


@dataclass(frozen=True)
class RunRecord:
    """A run in a comparison."""

    path: Path
    label: str
    """Algorithm under which it is compared."""
    problem: str
    """Name of what was searched."""
    seed: int
    state: str
    """missing, running, interrupted, failed or done."""
    spec: RunSpec | RetrainSpec | None = None
    error: str | None = None
    objective: MetricSpec | None = None
    score: float | None = None
    """Value of the objective of what was found."""
    source: str = ""
    """What gave the score: an evaluator, the supernet, or a retraining."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What else was measured of it."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    curve: Sequence[Point] = ()
    evaluations: int = 0
    """Trials evaluated; 0 in a one-shot search."""
    epochs: int = 0
    """Epochs of a one-shot search."""
    failed: int = 0
    rejected: int = 0
    repeated: int = 0
    """Trials of an architecture that had been evaluated before."""
    seconds: float = 0.0
    """Time that evaluations or epochs really took."""
    simulated: float | None = None
    """Time that the evaluations stand for."""
    scoring_seconds: float = 0.0
    """Time to score what a one-shot search found."""
    retrain_seconds: float | None = None
    test: float | None = None
    """Value of the objective on the test set, after the retraining."""
    test_metric: MetricSpec | None = None
    architecture: Architecture | None = None
    text: str = ""
    """The architecture in the notation of its space."""
    space: SearchSpaceSpec | None = None
    data: str | None = None
    """Fingerprint of the images that it loaded."""
    evaluator: Mapping[str, Any] | None = None
    """The evaluator that gave the score, with its options."""
    judged_on: str | None = None
    """Fingerprint of the images that the score was measured on; None where none were loaded for it."""
    environment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether it counts."""
        return self.state == "done" and self.score is not None and math.isfinite(self.score)

    @property
    def one_shot(self) -> bool:
        """Whether it is a search on one supernet."""
        return isinstance(self.spec, RunSpec) and self.spec.evaluator is None

    def fact(self, name: str) -> float | None:
        """Return a fact that is a number, such as the regret."""
        found = self.facts.get(name)
        return float(found.value) if found is not None and isinstance(found.value, int | float) else None


def collect_study(plan: Plan, directory: StudyDirectory) -> list[RunRecord]:
    """Return the runs of a study, those that are missing included.

    Raises:
        RunDirectoryError: A file of a run is damaged.
    """
    spaces: dict[str, SearchSpaceSpec] = {}
    return [_planned(planned, directory, spaces) for planned in plan.runs]


def _planned(planned: PlannedRun, directory: StudyDirectory, spaces: dict[str, SearchSpaceSpec]) -> RunRecord:
    path = directory.path / RUNS / planned.folder
    label, problem = planned.algorithm.title, planned.problem.title
    if not (path / files.RUN).exists():
        return RunRecord(path, label, problem, planned.seed, "missing")
    retrained = directory.path / RETRAINED / planned.folder
    return read_run(
        path, label, problem, retrained=retrained if (retrained / files.RUN).exists() else None, spaces=spaces
    )


def collect_runs(paths: Iterable[Path]) -> list[RunRecord]:
    """Return runs that exist, each under the name of its algorithm; a folder of runs stands for these.

    Raises:
        RunDirectoryError: A path is no run and has none in it, or a file of a run is damaged.
    """
    spaces: dict[str, SearchSpaceSpec] = {}
    return _told_apart([read_run(path, spaces=spaces) for path in _all_runs(paths)])


def _told_apart(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Return runs, with other labels where runs of one algorithm have other options: what differs is in the label."""
    options: dict[str, dict[str, dict[str, Any]]] = {}
    for run in runs:
        options.setdefault(run.label, {})[_key(run)] = _own_options(run)
    found = []
    for run in runs:
        variants = options[run.label]
        if len(variants) > 1:
            mine = _own_options(run)
            names = sorted({name for each in variants.values() for name in each})
            differing = [n for n in names if len({option_text(each.get(n)) for each in variants.values()}) > 1]
            text = ", ".join(f"{name}={option_text(mine.get(name))}" for name in differing)
            found.append(replace(run, label=f"{run.label} ({shorten(text, 60)})"))
        else:
            found.append(run)
    return found


def _key(run: RunRecord) -> str:
    return json.dumps(_own_options(run), sort_keys=True, default=str)


def _own_options(run: RunRecord) -> dict[str, Any]:
    """Return the options that make an algorithm another one: those of its mutator, and of a supernet's training."""
    if not isinstance(run.spec, RunSpec):
        return {}
    return {**run.spec.trainer, **run.spec.mutator}


def _all_runs(paths: Iterable[Path]) -> list[Path]:
    found: dict[Path, None] = {}
    for path in paths:
        if (path / files.RUN).is_file():
            found[path.absolute()] = None
            continue
        if not path.is_dir():
            raise RunDirectoryError(f"there is no run directory {path}")
        inner = [each.parent for each in sorted(path.rglob(files.RUN)) if files.TRIAL_DIRECTORIES not in each.parts]
        if not inner:
            raise RunDirectoryError(f"{path} is not a run directory, and has none in it: it has no {files.RUN}")
        found |= dict.fromkeys(each.absolute() for each in inner)
    return list(found)


def read_run(
    path: Path,
    label: str | None = None,
    problem: str = "",
    *,
    retrained: Path | None = None,
    spaces: dict[str, SearchSpaceSpec] | None = None,
) -> RunRecord:
    """Return the record of a run.

    Args:
        path: Its directory.
        label: Name under which it is compared; by default that of its algorithm.
        problem: Name of what was searched; by default space, data and evaluator.
        retrained: Directory of the retraining of what it found.
        spaces: Search spaces that were read already, by the text of their file.

    Raises:
        RunDirectoryError: A file of it is damaged.
    """
    directory = RunDirectory(path)
    spec, status = directory.spec, directory.status
    environment = directory.read_object(files.ENVIRONMENT) if (path / files.ENVIRONMENT).exists() else {}
    data = directory.read_object(files.DATA).get("fingerprint") if (path / files.DATA).exists() else None
    space = _space(directory, spaces)
    has_result = (path / files.ARCHITECTURE).exists() and status["state"] == "done"
    architecture = directory.architecture if has_result else None
    text = ""
    if architecture is not None:
        text = architecture_text(space, architecture, recorded_entry(spec.space.name)) or ""
    found: dict[str, Any] = {
        "path": path,
        "label": label or _label(spec),
        "problem": problem or _problem(spec, data),
        "seed": spec.seed,
        "state": status["state"],
        "spec": spec,
        "error": status.get("error"),
        "space": space,
        "data": data,
        "judged_on": data,
        "environment": environment,
        "architecture": architecture,
        "text": text,
    }
    if isinstance(spec, RetrainSpec):
        found |= _retraining(directory, spec)
    elif spec.evaluator is None:
        found |= _one_shot(directory, spec)
    else:
        found |= _multi_trial(directory, spec)
    if retrained is not None:
        found |= _test(RunDirectory(retrained))
    return RunRecord(**found)


def _space(directory: RunDirectory, known: dict[str, SearchSpaceSpec] | None) -> SearchSpaceSpec:
    if known is None:
        return directory.space
    text = directory.read_text(files.SPACE)
    if text not in known:
        known[text] = directory.space
    return known[text]


def _label(spec: RunSpec | RetrainSpec) -> str:
    return spec.algorithm_title if isinstance(spec, RunSpec) else spec.source


def _problem(spec: RunSpec | RetrainSpec, data: str | None) -> str:
    parts = [spec.space.title, *([spec.dataset.title] if data is not None else [])]
    evaluator = spec.evaluator if isinstance(spec, RunSpec) else None
    if evaluator is not None and isinstance(evaluator.options.get("dataset"), str):
        parts.append(evaluator.options["dataset"])
    return ", ".join(parts)


def _multi_trial(directory: RunDirectory, spec: RunSpec) -> dict[str, Any]:
    objective = directory.objective
    if objective is None:
        return {}
    path = directory.path / files.TRIALS
    trials = read_trials(path) if path.exists() else []
    curve: list[Point] = []
    best: Mapping[str, Any] | None = None
    best_key = (True, 0.0, math.inf)
    counts = {"failed": 0, "rejected": 0, "repeated": 0}
    evaluations, seconds, charged, simulated = 0, 0.0, 0.0, False
    seen: set[str] = set()
    for trial in trials:
        status = trial.get("status")
        if status == "rejected":
            counts["rejected"] += 1
            continue
        evaluations += 1
        took = float(trial.get("seconds", 0.0))
        stated = trial.get("metrics", {}).get(SIMULATED_SECONDS.name)
        simulated = simulated or stated is not None
        seconds, charged = seconds + took, charged + (took if stated is None else stated)
        text = str(trial.get("architecture"))
        counts["repeated"] += text in seen
        seen.add(text)
        if status != "done":
            counts["failed"] += 1
            continue
        key = best_first_key(objective, trial.get("score"), trial.get("fidelity", 1.0))
        if best is None or key < best_key:
            best, best_key = trial, key
            curve.append(Point(evaluations, charged, trial["score"]))
    if curve:
        curve.append(Point(evaluations, charged, curve[-1].value))
    return {
        "objective": objective,
        "score": None if best is None else best["score"],
        "source": spec.evaluator.title if spec.evaluator is not None else "",
        "evaluator": spec.evaluator.model_dump(mode="json") if spec.evaluator is not None else None,
        "metrics": {k: v for k, v in (best or {}).get("metrics", {}).items() if v is not None},
        "facts": {fact.name: fact for fact in directory.facts},
        "curve": curve,
        "evaluations": evaluations,
        "seconds": seconds,
        "simulated": charged if simulated else None,
        **counts,
    }


def _one_shot(directory: RunDirectory, spec: RunSpec) -> dict[str, Any]:
    path = directory.path / files.METRICS
    lines = [line for line in (read_metrics(path) if path.exists() else []) if line.get("event") == "epoch"]
    seconds = list(itertools.accumulate(float(line.get("seconds") or 0.0) for line in lines))
    found: dict[str, Any] = {"epochs": len(lines), "seconds": seconds[-1] if seconds else 0.0}
    if (directory.path / SCORE).exists():
        return found | _scored(directory, seconds)
    metrics = [metric.name for metric in task_metrics(spec.task) if metric.name != "loss"]
    names = [f"{split}_{name}" for split in ("validation", "arch") for name in metrics]
    name = next((name for name in names if lines and lines[-1].get(name) is not None), None)
    if name is not None:
        found |= {"objective": metric_spec(name), "score": lines[-1][name], "source": "supernet"}
        values = [(number, at, line[name]) for number, (at, line) in enumerate(zip(seconds, lines, strict=True), 1)]
        found["curve"] = [Point(*each) for each in values if each[2] is not None]
    return found


def _scored(directory: RunDirectory, seconds: Sequence[float]) -> dict[str, Any]:
    record = directory.read_object(SCORE, "objective", "score", "evaluator")
    try:
        objective = MetricSpec.model_validate(record["objective"])
        facts = {fact.name: fact for fact in map(Fact.model_validate, record.get("facts", []))}
    except ValidationError as error:
        raise RunDirectoryError(f"{directory.path / SCORE} is damaged") from error
    points = [Point(e, seconds[e - 1], v) for e, v in record.get("epochs", []) if 1 <= e <= len(seconds)]
    last = Point(len(seconds), seconds[-1] if seconds else 0.0, record["score"])
    return {
        "objective": objective,
        "score": record["score"],
        "source": reference_title(record["evaluator"]["name"]),
        "evaluator": record["evaluator"],
        "judged_on": record.get("data"),
        "metrics": record.get("metrics", {}),
        # what random search would find with a single evaluation is no fact about this search
        "facts": {name: fact for name, fact in facts.items() if name in ("rank", "optimum", "regret")},
        "curve": points or [last],
        "scoring_seconds": record.get("seconds", 0.0),
    }


def _test(directory: RunDirectory) -> dict[str, Any]:
    found = _retraining(directory, directory.spec)
    return {"test": found["score"], "test_metric": found["objective"], "retrain_seconds": found["seconds"]}


def _retraining(directory: RunDirectory, spec: RunSpec | RetrainSpec) -> dict[str, Any]:
    status = directory.status
    metrics = status.get("metrics") or {}
    names = [f"test_{metric.name}" for metric in task_metrics(spec.task) if metric.name != "loss"]
    name = next((name for name in names if name in metrics), None)
    path = directory.path / files.METRICS
    lines = [line for line in (read_metrics(path) if path.exists() else []) if line.get("event") == "epoch"]
    return {
        "objective": metric_spec(name) if name else None,
        "score": metrics.get(name) if name else None,
        "source": "retraining",
        "metrics": {k: v for k, v in metrics.items() if isinstance(v, int | float)},
        "epochs": len(lines),
        "seconds": sum(float(line.get("seconds") or 0.0) for line in lines),
    }
