"""Computes the runs of a study that are missing: ordinary runs, in this process or several at once. Imports torch.

Runs that have finished are kept, and interrupted ones resumed. A run that fails does not end the study. A search on a
table takes a fraction of a second, of which forcing its files to disk would be the larger part: those of all such runs
are forced together at the end.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from nasreg.config.request import ResolvedRun
from nasreg.engine.resume import is_complete
from nasreg.engine.retrain import retraining_of, run_retrain
from nasreg.engine.search import run_search
from nasreg.errors import InterruptedRunError, NasregError, StorageError, UsageError, one_line
from nasreg.events import Callback
from nasreg.executors import WorkerProcesses
from nasreg.registry import Registry, default_registry
from nasreg.runs import files
from nasreg.runs.directory import RunDirectory
from nasreg.runs.writing import synced_at_the_end
from nasreg.specs.study import StudyRetraining
from nasreg.studies.directory import RETRAINED, RUNS, StudyDirectory
from nasreg.studies.planning import Plan, PlannedRun
from nasreg.studies.scoring import is_scored, score_found
from nasreg.trainers.device import resolve_device
from nasreg.trainers.interrupt import Interruption, ending_in_order

POLL_SECONDS = 0.2


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


@dataclass(frozen=True)
class StudyProgress:
    """Sent after each run of a study."""

    done: int
    """Runs of the study that are finished, those that had finished before included."""
    total: int
    ended: Ended


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


class _Recorder:
    """Counts the runs that have ended, and tells."""

    def __init__(self, done: int, total: int, tell: Callable[[StudyProgress], None]) -> None:
        self._done = done
        self._total = total
        self._tell = tell
        self.failed: list[Ended] = []

    def __call__(self, ended: Ended) -> None:
        self._done += 1
        if ended.state == "failed":
            self.failed.append(ended)
        self._tell(StudyProgress(self._done, self._total, ended))

    @property
    def position(self) -> str:
        """How far the study is, for people."""
        return f"{self._done} of {self._total} runs"


@ending_in_order()
def compute_all(
    tasks: Sequence[Task],
    total: int,
    directory: StudyDirectory,
    *,
    registry: Registry,
    workers: int = 1,
    executor: Executor | None = None,
    callbacks: Sequence[Callback] = (),
    tell: Callable[[StudyProgress], None] = lambda progress: None,
) -> list[Ended]:
    """Compute runs of a study; one that fails does not end the others.

    Args:
        tasks: The runs.
        total: Number of all runs of the study.
        directory: The study.
        registry: Where names are looked up in this process; another process has its own.
        workers: Number of runs that are computed at the same time, each in a process of its own above 1.
        executor: Computes the runs, in place of processes of this machine.
        callbacks: Called with each event of a run that is computed in this process.
        tell: Called after each run.

    Returns:
        The runs that failed.

    Raises:
        InterruptedRunError: Ctrl-C or SIGTERM; what is missing can be computed later.
        UsageError: A run was refused.
    """
    recorder = _Recorder(total - len(tasks), total, tell)
    on_tables = all(task.on_table for task in tasks)
    try:
        with synced_at_the_end() if on_tables else contextlib.nullcontext():
            if executor is not None:
                _on_executor(tasks, executor, recorder)
            elif workers > 1 and len(tasks) > 1:
                _in_processes(tasks, min(workers, len(tasks)), recorder, on_tables=on_tables)
            else:
                for task in tasks:
                    recorder(compute(task, registry, callbacks))
    except (KeyboardInterrupt, InterruptedRunError) as error:
        again = directory.command("resume")
        raise InterruptedRunError(f"interrupted after {recorder.position}; resume with: {again}") from error
    return recorder.failed


def _in_processes(tasks: Sequence[Task], workers: int, recorder: _Recorder, *, on_tables: bool) -> None:
    queue = deque(enumerate(map(_pickled, tasks)))
    pool: WorkerProcesses[tuple[int, bytes], Ended] = WorkerProcesses(
        _Start(on_tables),
        _compute_pickled,
        _devices(tasks, workers),
        lambda message: None,
        lambda reason: Ended("", "failed", 0.0, reason),
    )
    running = 0
    with contextlib.closing(pool), Interruption("finishing what is running") as interruption:
        while queue or running:
            while queue and running < pool.workers:
                pool.submit(queue.popleft())
                running += 1
            for (number, _), ended in pool.poll(POLL_SECONDS):
                running -= 1
                recorder(ended if ended.title else replace(ended, title=tasks[number].title))
            if interruption.wanted:
                for _, ended in pool.interrupt():
                    recorder(ended)
                raise InterruptedRunError("interrupted")


def _on_executor(tasks: Sequence[Task], executor: Executor, recorder: _Recorder) -> None:
    futures: set[Future[Ended]] = {
        executor.submit(_compute_pickled, (number, _pickled(task))) for number, task in enumerate(tasks)
    }
    try:
        while futures:
            ended, futures = wait(futures, POLL_SECONDS, FIRST_COMPLETED)
            for future in ended:
                recorder(future.result())
    finally:
        for future in futures:
            future.cancel()


def _devices(tasks: Sequence[Task], workers: int) -> Sequence[str]:
    """Return the device of each worker: with several GPUs one each, in turn."""
    device = resolve_device(tasks[0].run.spec.device)
    if device.type != "cuda":
        return [str(device)] * workers
    return [f"cuda:{number % torch.cuda.device_count()}" for number in range(workers)]


def _pickled(task: Task) -> bytes:
    try:
        return pickle.dumps(task)
    except Exception as error:
        raise UsageError(
            f"the space or data cannot be sent to worker processes ({one_line(error)}): define their classes and"
            " functions at the top level of a module, or use one worker"
        ) from error


_device: list[str] = []
"""In a worker process its device."""


@dataclass(frozen=True)
class _Start:
    """Prepares a worker process."""

    on_tables: bool

    def __call__(self, device: str) -> None:
        Interruption.silent = True
        if (threads := os.environ.get("OMP_NUM_THREADS")) is not None:
            torch.set_num_threads(int(threads))
        _device.append(device)
        if self.on_tables:
            synced_at_the_end().__enter__()  # the main process forces what was written to disk


def _compute_pickled(numbered: tuple[int, bytes]) -> Ended:
    """Compute a run in another process."""
    task: Task = pickle.loads(numbered[1])  # noqa: S301  # our own, from the main process
    if _device and _device[0].startswith("cuda"):
        task = replace(task, run=_on_device(task.run), scoring=task.scoring and _on_device(task.scoring))
    return compute(task, default_registry())


def _on_device(run: ResolvedRun) -> ResolvedRun:
    return replace(run, spec=run.spec.model_copy(update={"device": _device[0]}))
