"""The agent of a worker: a Ray actor on a node, with one worker process that does the tasks.

The process is that of ``nasreg.executors.WorkerProcesses``: signals reach its main thread, so that an interrupted
training saves a checkpoint, and it is started anew if it dies. Ray sends this module by value: it imports nothing but
the standard library until the versions on the node have been compared, and no torch at all.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import os
import platform
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Agent:
    """Has the process of one worker on a node."""

    def __init__(self) -> None:
        self._pool: Any = None
        self._events: list[Any] = []
        self._folder: str | None = None

    def versions(self, distributions: Sequence[str]) -> tuple[str, dict[str, str | None]]:
        """Return the name of the node, and the versions of Python and of some packages: None for a missing one."""
        found: dict[str, str | None] = {"python": platform.python_version()}
        for name in distributions:
            found[name] = None
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                found[name] = importlib.metadata.version(name)
        return platform.node(), found

    def start(
        self, start: bytes, do: bytes, device: str, threads: int, code: Mapping[str, Any], token: str | None
    ) -> bool:
        """Make the worker, whose process starts with its first task.

        Args:
            start: Prepares the process, pickled.
            do: Does a task, pickled.
            device: Name of its device.
            threads: Number of its threads.
            code: The code of the user; see ``nasreg_ray.code``.
            token: A file that was written into the directory of the work; None if there is none.

        Returns:
            Whether this node sees that directory.
        """
        from nasreg.executors import WorkerProcesses
        from nasreg_ray.sealed import SealedDo, SealedStart

        self._unpack(code)
        shared = token is None or os.path.exists(token)
        self._pool = WorkerProcesses(
            SealedStart(start),
            SealedDo(do),
            [device],
            self._events.append,
            lambda reason: reason,  # bytes are a result, and text says why there is none
            threads,
            shared=shared,
        )
        return shared

    def _unpack(self, code: Mapping[str, Any]) -> None:
        """Let the process find the code of the user: it imports from where this process does."""
        self._folder = tempfile.mkdtemp(prefix="nasreg-ray-")
        with zipfile.ZipFile(io.BytesIO(code["archive"])) as archive:
            archive.extractall(self._folder)  # our own, from the main process
        sys.path += [path for path in code["paths"] if path not in sys.path and os.path.isdir(path)]
        sys.path.append(self._folder)
        main: Any = sys.modules["__main__"]
        script: str | None = code["script"]
        if script is not None and not os.path.exists(script):
            script = str(Path(self._folder) / Path(script).name)
        main.__file__ = script  # a spawned process imports the script, not that of Ray
        if script is None:
            del main.__file__

    def begin(self, task: bytes) -> None:
        """Begin a task."""
        self._pool.submit(task)

    def poll(self, timeout: float) -> tuple[list[Any], bytes | str | None, Exception | None]:
        """Wait for the task to end, or for the time given.

        Returns:
            The events it sent, its result as ``nasreg_ray.sealed`` returns it or the reason why there is none, and the
            error that it raised.
        """
        result: bytes | str | None = None
        error: Exception | None = None
        try:
            for _, found in self._pool.poll(timeout):
                result = found
        except Exception as raised:  # noqa: BLE001  # the driver raises it
            error = raised
        events = list(self._events)
        self._events.clear()
        return events, result, error

    def interrupt(self) -> bytes | str | None:
        """Ask the running task to save its state and end; return its result if it has one."""
        return next((result for _, result in self._pool.interrupt()), None)

    def close(self) -> None:
        """End the process and remove the code of the user."""
        if self._pool is not None:
            self._pool.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
