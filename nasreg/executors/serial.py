"""Does one task after the other in this process. Imports no torch."""

from __future__ import annotations

from collections import deque

from nasreg.executors.base import R, T, TaskExecutor, Work
from nasreg.specs.base import Config


class SerialExecutor(TaskExecutor[T, R]):
    """Does tasks in this process.

    Args:
        work: The work. With several workers as many tasks may be out at once; they are done one after the other all the
            same, so that a search with several workers can be repeated in one process, with the same result.
        config: It has no options.
    """

    def __init__(self, work: Work[T, R], config: Config) -> None:
        del config
        self.workers = len(work.devices)
        self._do = work.here
        self._waiting: deque[T] = deque()

    def submit(self, task: T) -> None:
        """Keep a task until it is asked for."""
        self._waiting.append(task)

    def poll(self, timeout: float) -> list[tuple[T, R]]:
        """Do the task that was submitted first."""
        del timeout
        task = self._waiting[0]
        result = self._do(task)  # may be interrupted
        self._waiting.popleft()
        return [(task, result)]
