"""What searches and studies have in common when they are computed by an executor of the registry. Imports torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch

from nasreg.config.request import ResolvedRun
from nasreg.errors import PluginError, one_line
from nasreg.executors import TaskExecutor, Work
from nasreg.executors.base import R, T
from nasreg.registry import CORE
from nasreg.registry.records import normalize
from nasreg.specs import RunSpec
from nasreg.specs.base import Config
from nasreg.specs.entries import ExecutorEntry
from nasreg.specs.references import RegisteredRef, parse_reference


def chosen_executor(entry: ExecutorEntry | None, config: Config | None, work: Work[T, R]) -> TaskExecutor[T, R]:
    """Make an executor of the registry.

    Args:
        entry: The executor.
        config: Its options.
        work: What it does.

    Raises:
        UsageError: The work cannot be sent to where it is done.
        PluginError: Its code cannot be loaded, or is no executor.
    """
    if entry is None:
        raise TypeError("a multi-trial search needs an executor")
    found: Any = entry.component.load_factory()(work, config)
    if not isinstance(found, TaskExecutor):
        raise PluginError(f"executor {entry.name!r} is a {type(found).__name__}, not a nasreg.executors.TaskExecutor")
    return found


def worker_devices(device: torch.device, workers: int) -> Sequence[str]:
    """Return the device of each worker: with several GPUs one each, in turn."""
    if device.type != "cuda":
        return [str(device)] * workers
    return [f"cuda:{number % torch.cuda.device_count()}" for number in range(workers)]


def distributions(run: ResolvedRun) -> tuple[str, ...]:
    """Return the names of the packages beside nasreg whose code a run uses."""
    spec = run.spec
    names = [spec.space.name, spec.dataset.name]
    if isinstance(spec, RunSpec):
        names += [spec.algorithm, *([] if spec.evaluator is None else [spec.evaluator.name])]
    references = [parse_reference(name) for name in names]
    found = {each.distribution for each in references if isinstance(each, RegisteredRef) and each.distribution}
    return tuple(sorted({normalize(name) for name in found} - {CORE}))


def cannot_send(error: Exception) -> str:
    """Return what to tell the user whose space or data cannot be pickled."""
    return (
        f"the space or data cannot be sent to worker processes ({one_line(error)}): define their classes and"
        " functions at the top level of a module, or use one worker"
    )


def cannot_find(error: Exception) -> str:
    """Return what to tell the user whose space or data another process cannot unpickle."""
    return (
        f"a worker process cannot find the space or data ({one_line(error)}): define their classes and functions in a"
        " module, not in a notebook or an interactive session"
    )


def use_threads_of_worker() -> None:
    """Let torch use as many threads as the executor gives this worker process."""
    if (threads := os.environ.get("OMP_NUM_THREADS")) is not None:
        torch.set_num_threads(int(threads))
