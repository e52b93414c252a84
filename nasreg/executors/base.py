"""The contract of executors, which do tasks one at a time or several at once: trials of a search, runs of a study.

An executor is made by the factory of its ``ExecutorEntry``, from the work and its options. Imports no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from nasreg.events import Event
from nasreg.specs.trial import Proposal, Score

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of an evaluation: a score, or the reason why there is none."""

    score: Score | None
    reason: str | None = None
    """In one line."""
    traceback: str | None = None
    seconds: float = 0.0


class Start(Protocol):
    """Prepares a worker process. It can be pickled."""

    def __call__(self, device: str, *, shared: bool = True) -> None:
        """Prepare the work of this process, or raise.

        Args:
            device: Name of the device of the worker.
            shared: Whether this process sees the directory of the work.
        """


@dataclass(frozen=True)
class PackedWork(Generic[T, R]):
    """Work in the form in which it is sent to another process."""

    start: Start
    do: Callable[[T], R]
    """Does a task in a process that has been prepared. It can be pickled, as tasks and results can."""
    pickles: tuple[bytes, ...] = ()
    """What the workers will load; from it an executor for other machines learns which modules they need."""


@dataclass(frozen=True, kw_only=True)
class Work(Generic[T, R]):
    """The work that an executor does."""

    devices: Sequence[str]
    """The device of each worker, by name: so many tasks are done at the same time."""
    here: Callable[[T], R]
    """Does a task in this process."""
    pack: Callable[[], PackedWork[T, R]]
    """Returns the work for other processes, or raises ``UsageError`` if it cannot be sent."""
    lost: Callable[[str], R]
    """Returns, for the reason, the result of a task whose process died each time."""
    receive: Callable[[Event], None]
    """Called in this process with each event that a task sends."""
    directory: Path | None = None
    """The directory into which tasks write."""
    needs_directory: bool = False
    """Whether a worker that does not see this directory is of no use."""
    distributions: tuple[str, ...] = ()
    """Names of the packages that the workers need in the same version, beside nasreg and torch."""


class TaskExecutor(ABC, Generic[T, R]):
    """Does tasks.

    Attributes:
        workers: Number of tasks that it does at the same time.
    """

    workers: int

    @abstractmethod
    def submit(self, task: T) -> None:
        """Begin a task. No more than ``workers`` are submitted and not yet returned by ``poll``."""

    @abstractmethod
    def poll(self, timeout: float) -> list[tuple[T, R]]:
        """Wait for tasks to end.

        Args:
            timeout: Seconds after which to return with what there is, which may be nothing.

        Returns:
            Each task that has ended, with its result.

        Raises:
            InterruptedRunError: A task was interrupted by a signal.
            StorageError: A file of the run cannot be written.
            UsageError: The workers cannot do the work.
            TrainingError: There are no workers any more.
        """

    def interrupt(self) -> list[tuple[T, R]]:
        """Ask the running tasks to save their state and end; return those that have ended with a result."""
        return []

    def close(self) -> None:  # nothing to do is a good default
        """Free what it holds, such as processes, at once. A later call does nothing."""


TrialExecutor = TaskExecutor[Proposal, Outcome]
"""Evaluates proposals. What goes wrong in an evaluation is an outcome, too."""

MakeExecutor = Callable[[Work[Any, Any], Any], TaskExecutor[Any, Any]]
"""The factory of an executor, called with the work and its options."""
