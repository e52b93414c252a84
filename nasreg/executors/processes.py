"""Worker processes of this machine, each with its part of the cores and a device of its own, which evaluate proposals.

Each worker is a ``ProcessPoolExecutor`` with one process, so that it is known whose process died. A process is
spawned, not forked: torch's threads and CUDA do not survive a fork. A task, such as a proposal, whose process dies is
done once more in a new process; if that dies, too, it has failed. A task can send events to the main process, such as
its progress. Imports no torch.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any

from nasreg.errors import InterruptedRunError, TrainingError
from nasreg.events import Event
from nasreg.executors.base import R, Start, T, TaskExecutor, Work
from nasreg.specs.base import Config

ATTEMPTS = 2
"""Number of processes that may die while they evaluate one proposal."""

START_SECONDS = 30.0
"""Time that a process has to start."""

GRACE_SECONDS = 60.0
"""Time that an interrupted evaluation has to save its state."""


def process_executor(work: Work[T, R], config: Config) -> WorkerProcesses[T, R]:
    """Return worker processes of this machine, which divide its cores; they have no options.

    Raises:
        UsageError: The work cannot be sent to them.
    """
    del config
    packed, threads = work.pack(), max(1, _cores() // len(work.devices))
    return WorkerProcesses(packed.start, packed.do, work.devices, work.receive, work.lost, threads)


class WorkerProcesses(TaskExecutor[T, R]):
    """Does tasks in worker processes.

    Args:
        start: Called once in each process, with the device of the worker; it prepares the work, or raises.
        work: Does a task in a process that has been prepared. Both have to be picklable.
        devices: The device of each worker, by name.
        receive: Called with each event that a task sends by ``send_to_main_process``.
        lost: Returns, for the reason, the result of a task whose process died each time.
        threads: Number of threads of each process.
        shared: Whether the processes see the directory of the work.

    Attributes:
        workers: Number of processes.
    """

    def __init__(
        self,
        start: Start,
        work: Callable[[T], R],
        devices: Sequence[str],
        receive: Callable[[Event], None],
        lost: Callable[[str], R],
        threads: int,
        *,
        shared: bool = True,
    ) -> None:
        self.workers = len(devices)
        self._work = work
        self._receive = receive
        self._lost = lost
        self._workers = [_Worker(partial(start, device, shared=shared), threads) for device in devices]
        self._running: dict[Future[R], tuple[_Worker, T, int]] = {}

    def submit(self, task: T) -> None:
        """Give a task to a worker that has none."""
        busy = {worker for worker, _, _ in self._running.values()}
        worker = next(worker for worker in self._workers if worker not in busy)
        self._give(worker, task, 1)

    def _give(self, worker: _Worker, task: T, attempt: int) -> None:
        self._running[worker.submit(self._work, task)] = worker, task, attempt

    def poll(self, timeout: float) -> list[tuple[T, R]]:
        """Wait until one task ends at least, or for the time given.

        Returns:
            Each task that has ended, with its result.
        """
        ended = wait(self._running, timeout, FIRST_COMPLETED).done
        for worker in self._workers:
            for message in worker.messages():
                self._receive(message)
        found = []
        for future in ended:
            worker, task, attempt = self._running.pop(future)
            try:
                worker.check_started()
                found.append((task, future.result()))
            except BrokenProcessPool:
                worker.close()
                if attempt < ATTEMPTS:
                    self._give(worker, task, attempt + 1)
                else:
                    reason = f"its worker process died, {ATTEMPTS} times (killed, or out of memory)"
                    found.append((task, self._lost(reason)))
        return found

    def interrupt(self) -> list[tuple[T, R]]:
        """Send each worker SIGTERM, on which a training saves a checkpoint, and wait for it."""
        for worker in {worker for worker, _, _ in self._running.values()}:
            worker.signal(signal.SIGTERM)
        ended = wait(self._running, GRACE_SECONDS).done
        found = []
        for future in ended:
            # A task that saves nothing dies of the signal.
            with contextlib.suppress(InterruptedRunError, BrokenProcessPool):
                found.append((self._running[future][1], future.result()))
        self._running = {}
        return found

    def close(self) -> None:
        """End all processes at once."""
        for worker in self._workers:
            worker.close()


class _Worker:
    """One worker process, started when it is first used and again after it died."""

    def __init__(self, start: Callable[[], None], threads: int) -> None:
        self._start = start
        self._threads = threads
        self._pool: ProcessPoolExecutor | None = None
        self._pid: Future[int] | None = None
        self._started: Future[None] | None = None
        self._messages: Connection | None = None

    def submit(self, work: Callable[[T], R], task: T) -> Future[R]:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._messages, sender = context.Pipe(duplex=False)
            with sender, _environment(OMP_NUM_THREADS=str(self._threads), OMP_WAIT_POLICY="passive"):
                self._pool = ProcessPoolExecutor(1, context, _begin, (sender,))
                self._pid = self._pool.submit(os.getpid)  # the process starts with the first task
            self._started = self._pool.submit(self._start)
        return self._pool.submit(work, task)

    def messages(self) -> Iterator[Any]:
        """Yield the messages that have arrived."""
        with contextlib.suppress(EOFError, OSError):  # it has died, which its future tells
            while self._messages is not None and self._messages.poll():
                yield self._messages.recv()

    def check_started(self) -> None:
        """Raise what went wrong when the worker was prepared.

        Raises:
            TrainingError: It died.
        """
        if self._started is None:
            return
        try:
            self._started.result()
        except BrokenProcessPool as error:
            raise TrainingError(
                "a worker process ended before it was ready (killed, or out of memory). A script has to call"
                " nasreg below: if __name__ == '__main__':"
            ) from error

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process; one that has only just been started is waited for, or it would miss it."""
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError, BrokenProcessPool, TimeoutError):
                os.kill(self._pid.result(START_SECONDS), number)

    def close(self) -> None:
        if self._pool is not None:
            self.signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = self._pid = self._started = None
        if self._messages is not None:
            self._messages.close()
            self._messages = None


_senders: list[Connection] = []
"""In a worker process where it sends its messages; empty in any other process."""


def send_to_main_process(message: Event) -> None:
    """Send an event from a worker process to the main process; it has to be picklable and small.

    Raises:
        RuntimeError: This is no worker process.
    """
    if not _senders:
        raise RuntimeError("only a worker process can send events to the main process")
    with contextlib.suppress(BrokenPipeError):  # the search has ended, and so will this process
        _senders[0].send(message)


def _begin(sender: Connection) -> None:
    """Begin a process: Ctrl-C is for the main process alone, and its death ends this one."""
    _senders.append(sender)
    if hasattr(os, "setsid"):
        os.setsid()
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set variables that processes started in the block inherit: torch reads these when it is imported."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
