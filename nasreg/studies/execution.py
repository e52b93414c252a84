"""Computes the runs of a study that are missing: ordinary runs, in this process or several at once. Imports torch.

Runs that have finished are kept, and interrupted ones resumed. A run that fails does not end the study. A search on a
table takes a fraction of a second, of which forcing its files to disk would be the larger part: those of all such runs
are forced together at the end.
"""

from __future__ import annotations

import contextlib
import pickle
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

from nasreg.config.request import ResolvedRun
from nasreg.engine.workers import (
    cannot_find,
    cannot_send,
    chosen_executor,
    distributions,
    use_threads_of_worker,
    worker_devices,
)
from nasreg.errors import ConfigError, InterruptedRunError, UsageError
from nasreg.events import Callback, Event
from nasreg.executors import FuturesExecutor, PackedWork, SerialExecutor, TaskExecutor, Work
from nasreg.registry import Registry, default_registry
from nasreg.runs.writing import synced_at_the_end
from nasreg.specs.base import Config, parse
from nasreg.specs.entries import ExecutorEntry
from nasreg.studies.directory import StudyDirectory
from nasreg.studies.tasks import Ended, Task, compute
from nasreg.trainers.device import resolve_device
from nasreg.trainers.interrupt import Interruption, ending_in_order

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class StudyProgress:
    """Sent after each run of a study."""

    done: int
    """Runs of the study that are finished, those that had finished before included."""
    total: int
    ended: Ended


@dataclass(frozen=True)
class Workers:
    """Where the runs of a study are computed."""

    entry: ExecutorEntry
    config: Config
    count: int = 1
    """Number of runs that are computed at the same time."""


def study_workers(
    registry: Registry, count: int = 1, executor: str | None = None, options: Mapping[str, Any] | None = None
) -> Workers:
    """Return where the runs of a study are computed.

    Args:
        registry: Where the executor is looked up.
        count: Number of runs at the same time.
        executor: Name of the executor; by default this process for one run at a time, else processes of this machine.
        options: Options of the executor.

    Raises:
        UnknownNameError: There is no such executor.
        ConfigError: An option is invalid.
    """
    if count < 1:
        raise ConfigError(f"workers: {count} is invalid: expected a number of runs from 1")
    entry = registry.executor(executor or ("serial" if count == 1 else "processes"))
    return Workers(entry, parse(entry.component.load_config(), options or {}, "executor"), count)


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
    workers: Workers | Executor,
    callbacks: Sequence[Callback] = (),
    tell: Callable[[StudyProgress], None] = lambda progress: None,
) -> list[Ended]:
    """Compute runs of a study; one that fails does not end the others.

    Args:
        tasks: The runs.
        total: Number of all runs of the study.
        directory: The study.
        registry: Where names are looked up in this process; another process has its own.
        workers: Where the runs are computed, or an executor of the caller.
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
            if tasks:
                pool = _pool(tasks, directory, registry, workers, callbacks, on_tables=on_tables)
                _compute_in(pool, tasks, recorder)
    except (KeyboardInterrupt, InterruptedRunError) as error:
        again = directory.command("resume")
        raise InterruptedRunError(f"interrupted after {recorder.position}; resume with: {again}") from error
    return recorder.failed


def _pool(
    tasks: Sequence[Task],
    directory: StudyDirectory,
    registry: Registry,
    workers: Workers | Executor,
    callbacks: Sequence[Callback],
    *,
    on_tables: bool,
) -> TaskExecutor[_Parcel, Ended]:
    """Make the executor of a study."""
    if isinstance(workers, Executor):
        return FuturesExecutor(workers, _compute_parcel, len(tasks), _lost)

    def pack() -> PackedWork[_Parcel, Ended]:
        return PackedWork(_Start(on_tables), _compute_parcel, tuple(map(_pickled, _different(tasks))))

    def receive(event: Event) -> None:
        for callback in callbacks:
            callback(event)

    work: Work[_Parcel, Ended] = Work(
        devices=worker_devices(resolve_device(tasks[0].run.spec.device), min(workers.count, len(tasks))),
        here=lambda parcel: compute(parcel.open(), registry, callbacks),
        pack=pack,
        lost=_lost,
        receive=receive,
        directory=directory.path,
        needs_directory=True,
        distributions=tuple(sorted({name for task in _different(tasks) for name in distributions(task.run)})),
    )
    return chosen_executor(workers.entry, workers.config, work)


def _lost(reason: str) -> Ended:
    return Ended("", "failed", 0.0, reason)


def _different(tasks: Sequence[Task]) -> list[Task]:
    """Return a task for each algorithm, space and data set."""
    found: dict[tuple[object, ...], Task] = {}
    for task in tasks:
        algorithm = getattr(task.run.spec, "algorithm", None)
        found.setdefault((algorithm, task.run.space.reference, task.run.dataset.reference), task)
    return list(found.values())


def _compute_in(pool: TaskExecutor[_Parcel, Ended], tasks: Sequence[Task], recorder: _Recorder) -> None:
    queue = deque(map(_Parcel, tasks))
    running = 0
    with contextlib.closing(pool):
        if isinstance(pool, SerialExecutor):  # each run ends in order by itself
            for parcel in queue:
                pool.submit(parcel)
                recorder(pool.poll(0)[0][1])
            return
        with Interruption("finishing what is running") as interruption:
            while queue or running:
                while queue and running < pool.workers:
                    pool.submit(queue.popleft())
                    running += 1
                for parcel, ended in pool.poll(POLL_SECONDS):
                    running -= 1
                    recorder(ended if ended.title else replace(ended, title=parcel.open().title))
                if interruption.wanted:
                    for _, ended in pool.interrupt():
                        recorder(ended)
                    raise InterruptedRunError("interrupted")


@dataclass(frozen=True, eq=False)
class _Parcel:
    """A task that is pickled only when it is sent to another process."""

    content: Task | bytes

    def __reduce__(self) -> tuple[type[_Parcel], tuple[bytes]]:
        return _Parcel, (self.content if isinstance(self.content, bytes) else _pickled(self.content),)

    def open(self) -> Task:
        """Return the task.

        Raises:
            UsageError: This process cannot find the space or data.
        """
        if isinstance(self.content, Task):
            return self.content
        try:
            task: Task = pickle.loads(self.content)  # noqa: S301  # our own, from the main process
        except Exception as error:
            raise UsageError(cannot_find(error)) from error
        return task


def _pickled(task: Task) -> bytes:
    try:
        return pickle.dumps(task)
    except Exception as error:
        raise UsageError(cannot_send(error)) from error


_device: list[str] = []
"""In a worker process its device."""


@dataclass(frozen=True)
class _Start:
    """Prepares a worker process."""

    on_tables: bool

    def __call__(self, device: str, *, shared: bool = True) -> None:
        del shared  # a run is computed only where its directory is
        Interruption.silent = True
        use_threads_of_worker()
        _device.append(device)
        if self.on_tables:
            synced_at_the_end().__enter__()  # the main process forces what was written to disk


def _compute_parcel(parcel: _Parcel) -> Ended:
    """Compute a run in another process."""
    task = parcel.open()
    if _device and _device[0].startswith("cuda"):
        task = replace(task, run=_on_device(task.run), scoring=task.scoring and _on_device(task.scoring))
    return compute(task, default_registry())


def _on_device(run: ResolvedRun) -> ResolvedRun:
    return replace(run, spec=run.spec.model_copy(update={"device": _device[0]}))
