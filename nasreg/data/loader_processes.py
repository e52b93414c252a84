"""Keeps signals away from loader processes: the main process alone decides what becomes of an interrupted run.

A terminal sends Ctrl-C, and a scheduler SIGTERM, to every process of a job. Loader processes that die of it, or that
write a message each, take the run with them before it has saved a checkpoint. So they are started with these signals
blocked, which a process inherits however it is started, before it has executed a line; they end when the main process
closes their queues, or has died.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker

BLOCKED = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextlib.contextmanager
def starting_loader_processes() -> Iterator[None]:
    """Return a context in which processes are started with signals blocked; where there is no mask it does nothing."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    if multiprocessing.get_start_method() != "fork":
        # Python starts its tracker with the first such process, and unblocks signals in the middle of that.
        resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_loader_process(worker: int) -> None:
    """Prepare a loader process: of the blocked signals only its parent's SIGTERM ends it.

    Args:
        worker: Number of the process in its loader.
    """
    del worker
    parent = multiprocessing.parent_process()
    if parent is None or not hasattr(signal, "sigwaitinfo"):
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)  # again: a server that forks may be older than the run
    threading.Thread(target=_end_with_parent, args=(parent.pid,), daemon=True).start()


def _end_with_parent(parent: int | None) -> None:
    while signal.sigwaitinfo(BLOCKED).si_pid != parent:
        pass
    os._exit(1)


def lost_loader(error: BaseException) -> str | None:
    """Return what to say of an error of torch that means that a loader process has died, else None."""
    match = re.search(r"DataLoader worker \(pid.*?\) (is killed by signal: [^.]*|exited unexpectedly)", str(error))
    if not isinstance(error, RuntimeError) or match is None:
        return None
    return (
        f"a process that loads images died ({match[1]}): there may be too little memory, or shared memory (/dev/shm):"
        " lower dataset.workers; 0 loads in the main process. A script has to call nasreg below:"
        " if __name__ == '__main__':"
    )
