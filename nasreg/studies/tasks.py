"""A run of a study as a task: whether it has finished, and computing what is missing of it. Imports torch.

A run that is interrupted is resumed; what ends it in another way is its result, so that it does not end the study.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nasreg.config.request import ResolvedRun
from nasreg.engine.resume import is_complete
from nasreg.engine.retrain import retraining_of, run_retrain
from nasreg.engine.search import run_search
from nasreg.errors import InterruptedRunError, NasregError, StorageError, UsageError, one_line
from nasreg.events import Callback
from nasreg.registry import Registry
from nasreg.runs import files
from nasreg.runs.directory import RunDirectory
from nasreg.specs.study import StudyRetraining
from nasreg.studies.directory import RETRAINED, RUNS, StudyDirectory
from nasreg.studies.planning import Plan, PlannedRun
from nasreg.studies.scoring import is_scored, score_found


@dataclass(frozen=True)
class Task:
    """A run that is to be computed; it can be sent to another process."""

    title: str
    run: ResolvedRun
    path: Path
    scoring: ResolvedRun | None
    retrained: Path | None
    """Directory of the retraining; None for none."""
    retrain: StudyRetraining | None
    pictures: bool
    on_table: bool
    """Whether the search only looks results up."""


@dataclass(frozen=True)
class Ended:
    """How a run of a study ended."""

    title: str
    state: Literal["done", "failed"]
    seconds: float
    reason: str = ""
    """Why it failed, in one line."""


def missing_tasks(plan: Plan, directory: StudyDirectory, *, pictures: bool | None) -> list[Task]:
    """Return the runs of a plan that have not finished.

    Args:
        plan: The plan.
        directory: The study.
        pictures: Whether each run draws pictures and writes a page; None: those that train.

    Raises:
        RunDirectoryError: A run is there with other options that decide its result.
    """
    found = []
    for planned in plan.runs:
        task = _task(plan, planned, directory, pictures)
        if not _is_finished(task):
            found.append(task)
    return found


def _task(plan: Plan, planned: PlannedRun, directory: StudyDirectory, pictures: bool | None) -> Task:
    run = planned.run
    on_table = run.evaluator is not None and not (
        run.evaluator.needs if run.evaluator_config is None else run.evaluator.needs_with(run.evaluator_config)
    )
    return Task(
        title=planned.title,
        run=run,
        path=directory.path / RUNS / planned.folder,
        scoring=planned.scoring,
        retrained=directory.path / RETRAINED / planned.folder if plan.spec.retrain is not None else None,
        retrain=plan.spec.retrain,
        pictures=not on_table if pictures is None else pictures,
        on_table=on_table,
    )


def _is_finished(task: Task) -> bool:
    if not (task.path / files.RUN).exists() or not is_complete(RunDirectory(task.path), task.run):
        return False
    if task.scoring is not None and not is_scored(task.path):
        return False
    return task.retrained is None or _state(task.retrained) == "done"


def _state(path: Path) -> str:
    return str(RunDirectory(path).status["state"]) if (path / files.RUN).exists() else "missing"


def compute(task: Task, registry: Registry, callbacks: Sequence[Callback] = ()) -> Ended:
    """Compute what is missing of a run: the search, the score of what it found, its retraining.

    Args:
        task: The run.
        registry: Where names are looked up.
        callbacks: Called with each event of the run.

    Raises:
        InterruptedRunError: A signal interrupted it.
        StorageError: There is no space for a file.
        UsageError: The request is invalid.
    """
    began = time.perf_counter()
    try:
        begun = (task.path / files.RUN).exists()
        if not begun or not is_complete(RunDirectory(task.path), task.run):
            run_search(
                task.run,
                registry=registry,
                out=task.path,
                resume=begun,
                callbacks=callbacks,
                pictures=task.pictures,
            )
        if task.scoring is not None and not is_scored(task.path):
            score_found(task.scoring, RunDirectory(task.path))
        if task.retrained is not None and task.retrain is not None and _state(task.retrained) != "done":
            _retrain(task, registry, task.retrained, task.retrain, callbacks)
    except (InterruptedRunError, StorageError, UsageError):
        raise  # no other run would fare better
    except NasregError as error:
        return Ended(task.title, "failed", time.perf_counter() - began, one_line(error))
    except Exception as error:  # noqa: BLE001  # it may come from the model or the plugin of a user
        with contextlib.suppress(OSError):
            (task.path / "traceback.txt").write_text(traceback.format_exc(), encoding="utf-8")
        return Ended(task.title, "failed", time.perf_counter() - began, one_line(error))
    return Ended(task.title, "done", time.perf_counter() - began)


def _retrain(
    task: Task, registry: Registry, place: Path, recipe: StudyRetraining, callbacks: Sequence[Callback]
) -> None:
    directory = RunDirectory(task.path)
    run = retraining_of(registry, task.run, directory, recipe=recipe.recipe, settings=recipe.settings)
    begun = (place / files.RUN).exists()
    run_retrain(run, registry=registry, out=place, resume=begun, callbacks=callbacks, pictures=task.pictures)
