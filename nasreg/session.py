"""What a search and a retraining share around their loop: data, run directory, status, environment. Imports torch."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nasreg.callbacks import JsonLines, read_metrics, record
from nasreg.data import LoadedDataset, from_torch
from nasreg.errors import InterruptedRunError, RunDirectoryError
from nasreg.events import EpochEnded, Event, MemoryMeasured, Notice, TrialEnded
from nasreg.profile import profile_network
from nasreg.registry import Registry
from nasreg.report import write_report
from nasreg.resolve import OBJECT
from nasreg.runs import RunDirectory
from nasreg.shape import load_registered
from nasreg.specs import RetrainSpec, RunSpec
from nasreg.trainers.loop import Loop
from nasreg.trainers.task import Task

INTERRUPTED = InterruptedRunError.exit_code

MOST_IMAGES = 64
COST_SECONDS = 0.02
"""So long is a latency measured at the end of a run: ``nasreg profile`` takes its time."""


def as_dataset(data: Any) -> LoadedDataset:
    """Take what ``search`` and ``retrain`` are given as data."""
    if isinstance(data, LoadedDataset):
        return data
    if isinstance(data, tuple):
        return from_torch(*data)
    return from_torch(data)


def load_dataset(registry: Registry, name: str, config: Any) -> LoadedDataset:
    """Load a data set by name.

    Raises:
        RunDirectoryError: It was an object.
        NasregError: It cannot be loaded.
    """
    if name.startswith(OBJECT):
        raise RunDirectoryError(object_advice("data set", name))
    return load_registered(registry, name, config)


def object_advice(what: str, name: str) -> str:
    """Say how to go on with a run whose model or data set was an object of the Python program."""
    return (
        f"this run was started from Python with a {what} of its own ({name.removeprefix(OBJECT)}):"
        " go on with it by nasreg.search(..., out=..., resume=True) and the same arguments"
    )


def claim_directory(path: Path, *, resume: bool) -> RunDirectory:
    """Return a run directory that is free, or with ``resume`` one that can be gone on with.

    Raises:
        RunDirectoryError: It is neither.
    """
    directory = RunDirectory(path)
    if not resume:
        directory.check_free()
    elif directory.status["state"] == "done":
        raise RunDirectoryError(f"{directory.path} has finished: its result is architecture.json in it")
    return directory


def _check_same(directory: RunDirectory, spec: RunSpec | RetrainSpec, data: dict[str, Any]) -> None:
    """Refuse to resume what would not be the same run.

    Raises:
        RunDirectoryError: Other options, or other data.
    """
    before, now = directory.spec.model_dump(mode="json"), spec.model_dump(mode="json")
    if before != now:
        differing = ", ".join(name for name in now if before[name] != now[name])
        raise RunDirectoryError(
            f"{directory.path} is a run with other options ({differing}): resume it with the same ones"
        )
    if directory.read_json("data.json")["fingerprint"] != data["fingerprint"]:
        raise RunDirectoryError(
            f"the data set {spec.dataset.name!r} is no longer what {directory.path} was started with:"
            " put the same images back, or start a new run"
        )


def carry_out(
    trainer: Loop,
    directory: RunDirectory | None,
    registry: Registry,
    *,
    resume: bool,
    network: Callable[[], nn.Module],
    begin: Callable[[RunDirectory], None] | None = None,
    end: Callable[[RunDirectory], None] | None = None,
) -> list[dict[str, Any]]:
    """Train; where there is a run directory, keep there everything from the first file to the report.

    Args:
        trainer: What trains.
        directory: The run, from ``claim_directory``.
        registry: Whose plugins are noted.
        resume: Go on with the run.
        network: Returns, after the training, the network whose cost is measured.
        begin: Writes into a new run what it has beside what every run has.
        end: Writes what came out.

    Returns:
        ``callbacks.record`` of every epoch and trial, in order, also of those before the run was resumed.

    Raises:
        NasregError: As ``Loop.fit``, or the run cannot be resumed.
    """
    task = trainer.task
    if directory is None:
        records: list[dict[str, Any]] = []
        task.callbacks = [*task.callbacks, partial(_remember, records)]
        trainer.fit()
        return records
    with directory.lock():
        if resume:
            _check_same(directory, task.spec, task.data.describe())
        else:
            directory.create(task.spec, task.space, task.data.describe())
            if begin:
                begin(directory)
        _fit(trainer, directory, _environment(registry))
        if end:
            end(directory)
        directory.set_status("done", error=None, metrics=trainer.position.metrics)
        _keep_cost(task, network(), -(-trainer.options.batch_size // trainer.options.accumulate))
        _report(task)
    return read_metrics(directory.path / "metrics.jsonl")


def _remember(records: list[dict[str, Any]], event: Event) -> None:
    if isinstance(event, EpochEnded | TrialEnded):
        records.append(record(event))


def _fit(trainer: Loop, directory: RunDirectory, environment: dict[str, Any]) -> None:
    """Train, and keep in the run, which is locked, how it stands."""
    task = trainer.task
    resumed = (directory.path / "environment.json").exists()
    if resumed:
        before = directory.read_json("environment.json")
        changed = [name for name in ("versions", "machine", "threads") if before.get(name) != environment[name]]
        if changed:
            task.emit(
                Notice(f"resumed with other {' and '.join(changed)} than before: the result may differ in its bits")
            )
    else:
        directory.write_json("environment.json", environment)
    directory.set_status("running", resumed=directory.status["resumed"] + resumed)
    with JsonLines(directory.path / "metrics.jsonl") as metrics:
        task.run, task.metrics = directory, metrics
        task.callbacks = [metrics, partial(_keep_memory, directory), *task.callbacks]
        try:
            trainer.fit()
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt) or getattr(error, "exit_code", 1) == INTERRUPTED
            directory.set_status("interrupted" if stopped else "failed", error=str(error) or type(error).__name__)
            if isinstance(error, Exception):  # not after the second Ctrl-C, which wants an end at once
                _report(task)
            raise


def _keep_memory(directory: RunDirectory, event: Event) -> None:
    """Note the peak of memory in the status: it is of the process, and no part of what the seed decides."""
    if isinstance(event, MemoryMeasured):
        status = directory.status
        directory.set_status(status["state"], peak_bytes=max(event.peak_bytes, status.get("peak_bytes", 0)))


def _keep_cost(task: Task, network: nn.Module, batch_size: int) -> None:
    """Measure what a network costs, and keep that in ``cost.json``; a failure is told and goes no further.

    It was trained on ``batch_size`` images at once, so that there is memory for them.
    """
    assert task.run is not None  # noqa: S101  # only runs with a directory come here
    size = max(2, min(batch_size, MOST_IMAGES))
    try:
        found = profile_network(
            network, task.data.info, device=str(task.device), batch_size=size, rounds=3, seconds=COST_SECONDS
        )
        task.run.write_json("cost.json", found.model_dump(mode="json"))
    except Exception as error:  # noqa: BLE001  # it may be the module of a user; the run is what it is without
        reason = " ".join(f"{type(error).__name__} {error}".split())
        task.emit(Notice(f"what the network costs could not be measured ({reason})"))


def _report(task: Task) -> None:
    """Write the page of a run; the run is what it is without one, so that a failure is told and goes no further."""
    assert task.run is not None  # noqa: S101  # only runs with a directory come here
    try:
        write_report(task.run.path)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # it must not hide how the run itself ended
        reason = " ".join(f"{type(error).__name__} {error}".split())
        task.emit(Notice(f"no report was written ({reason}): write it with: nasreg show {task.run.path}"))


def _environment(registry: Registry) -> dict[str, Any]:
    """Return what a run depends on beside its RunSpec: versions, machine, threads, command."""
    plugins = {record.distribution: record.version for record in registry.plugins() if record.distribution}
    names = ("nasreg", "torch", "torchvision")
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in names},
            **plugins,
        },
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cpus": os.cpu_count()},
        "threads": torch.get_num_threads(),
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
