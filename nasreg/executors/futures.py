"""Does tasks on any ``concurrent.futures.Executor``, such as those of loky, mpi4py or dask. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait

from nasreg.errors import NasregError, TrainingError, UsageError, one_line
from nasreg.executors.base import R, T, TaskExecutor

ATTEMPTS = 2
"""Number of times that an executor may lose one task."""


class FuturesExecutor(TaskExecutor[T, R]):
    """Does tasks on an executor that the caller made, and that the caller shuts down.

    A task whose future raises anything but an error of nasreg was lost with its worker, and is submitted once more.

    Args:
        executor: The executor.
        do: Does a task in any process; it has to be picklable.
        workers: Number of tasks to give to it at once.
        lost: Returns, for the reason, the result of a task that was lost each time.

    Raises:
        UsageError: It is an executor of threads, which would draw from one generator of random numbers.
    """

    def __init__(self, executor: Executor, do: Callable[[T], R], workers: int, lost: Callable[[str], R]) -> None:
        if isinstance(executor, ThreadPoolExecutor):
            raise UsageError(
                "executor: threads of one process share torch's random numbers, so that no result could be repeated:"
                " give a concurrent.futures.ProcessPoolExecutor, or workers=N"
            )
        self.workers = workers
        self._executor = executor
        self._do = do
        self._lost = lost
        self._running: dict[Future[R], tuple[T, int]] = {}

    def submit(self, task: T) -> None:
        """Submit a task to the executor."""
        self._give(task, 1)

    def _give(self, task: T, attempt: int) -> None:
        try:
            future = self._executor.submit(self._do, task)
        except Exception as error:  # it may be of any package; there is no worker for any other task
            name = type(self._executor).__name__
            raise TrainingError(f"executor: the {name} takes no tasks any more ({one_line(error)})") from error
        self._running[future] = task, attempt

    def poll(self, timeout: float) -> list[tuple[T, R]]:
        """Wait until one task ends at least, or for the time given."""
        ended = wait(self._running, timeout, FIRST_COMPLETED).done
        found = []
        for future in ended:
            task, attempt = self._running.pop(future)
            try:
                found.append((task, future.result()))
            except NasregError:
                raise
            except Exception as error:  # noqa: BLE001  # each package has its own for a lost worker
                if attempt < ATTEMPTS:
                    self._give(task, attempt + 1)
                else:
                    found.append((task, self._lost(f"the executor lost it, {ATTEMPTS} times ({one_line(error)})")))
        return found

    def interrupt(self) -> list[tuple[T, R]]:
        """Cancel what has not begun; what runs belongs to the executor, and its result is lost."""
        self.close()
        return []

    def close(self) -> None:
        """Cancel what has not begun. The executor is the caller's."""
        for future in self._running:
            future.cancel()
        self._running = {}
