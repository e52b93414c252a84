"""Evaluates proposals on any ``concurrent.futures.Executor``, such as those of loky, mpi4py, dask or Ray.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait

from nasreg.errors import UsageError
from nasreg.executors.base import Outcome, TrialExecutor
from nasreg.specs.trial import Proposal


class FuturesExecutor(TrialExecutor):
    """Evaluates proposals on an executor that the caller made, and that the caller shuts down.

    Args:
        executor: The executor.
        evaluate: Evaluates a proposal in any process; it has to be picklable.
        workers: Number of proposals to give to it at once.

    Raises:
        UsageError: It is an executor of threads, which would draw from one generator of random numbers.
    """

    def __init__(self, executor: Executor, evaluate: Callable[[Proposal], Outcome], workers: int) -> None:
        if isinstance(executor, ThreadPoolExecutor):
            raise UsageError(
                "executor: threads of one process share torch's random numbers, so that no result could be repeated:"
                " give a concurrent.futures.ProcessPoolExecutor, or workers=N"
            )
        self.workers = workers
        self._executor = executor
        self._evaluate = evaluate
        self._running: dict[Future[Outcome], Proposal] = {}

    def submit(self, proposal: Proposal) -> None:
        """Submit a proposal to the executor."""
        self._running[self._executor.submit(self._evaluate, proposal)] = proposal

    def poll(self, timeout: float) -> list[tuple[Proposal, Outcome]]:
        """Wait until one evaluation ends at least, or for the time given."""
        ended = wait(self._running, timeout, FIRST_COMPLETED).done
        return [(self._running.pop(future), future.result()) for future in ended]

    def interrupt(self) -> list[tuple[Proposal, Outcome]]:
        """Cancel what has not begun; what runs belongs to the executor, and its result is lost."""
        for future in self._running:
            future.cancel()
        self._running = {}
        return []
