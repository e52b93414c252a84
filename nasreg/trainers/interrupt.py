"""Ctrl-C and SIGTERM end a run after the present step, with a checkpoint; a second Ctrl-C ends it at once.

So does SIGHUP, which a terminal sends that is closed, unless it is ignored as under ``nohup``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, ClassVar

_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextlib.contextmanager
def ending_in_order() -> Iterator[None]:
    """Return a context in which SIGTERM and SIGHUP are what Ctrl-C is, so that files and processes are cleaned up.

    Handlers that are set already stay. In any but the main thread it does nothing.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in _ENDING:
            if signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Interruption:
    """A context that records Ctrl-C, SIGTERM and SIGHUP instead of raising.

    Python delivers signals to the main thread only; in any other thread it does nothing.

    Args:
        finishing: What is finished first, for the message.
    """

    silent: ClassVar[bool] = False
    """Whether to print no message: in a worker process the main process prints it."""

    def __init__(self, finishing: str = "finishing this step to save a checkpoint") -> None:
        self.wanted = False
        self._finishing = finishing
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, *_ENDING):
                if number in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.wanted:
            # "timeout" and some schedulers send SIGTERM to the process and then to its group.
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        self.wanted = True
        # Not print(): the signal may have come in the middle of one. Nobody may be left to read it.
        if not self.silent:
            with contextlib.suppress(OSError):
                os.write(2, f"\n{self._finishing}; press again to stop at once\n".encode())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
