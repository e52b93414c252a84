"""Ctrl-C and SIGTERM end a run after the present step, with a checkpoint; a second Ctrl-C ends it at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, ClassVar


class Interruption:
    """A context that records Ctrl-C and SIGTERM instead of raising.

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
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True
        # Not print(): the signal may have come in the middle of one.
        if not self.silent:
            os.write(2, f"\n{self._finishing}; press again to stop at once\n".encode())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
