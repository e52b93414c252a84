"""The lock of a run directory, against other processes and other threads of this one. Imports no torch."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from nasreg.errors import RunDirectoryError
from nasreg.runs import files

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: there runs are not locked
    fcntl = None


_locked: dict[tuple[int, Path], object] = {}
"""Process and directory of each lock of this process: the operating system's locks do not tell its threads apart."""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[str | None]:
    """Lock a run directory for the time of a block, and make it if it does not exist.

    The lock of a dead process is released. What a killed process left half-written is removed.

    Args:
        path: The directory.

    Yields:
        None, or a notice for the user: that the file system has no locks, so that the run is not protected.

    Raises:
        RunDirectoryError: Another process works in it, or the directory cannot be made.
    """
    key, mine = (os.getpid(), path.resolve()), object()
    if _locked.setdefault(key, mine) is not mine:
        raise RunDirectoryError(f"run {path} is in use by another thread of this process")
    try:
        with _lock_file(path) as notice:
            for part in path.rglob(".*.part"):  # left by a killed process
                part.unlink(missing_ok=True)
            yield notice
    finally:
        del _locked[key]


@contextlib.contextmanager
def _lock_file(path: Path) -> Iterator[str | None]:
    try:
        path.mkdir(parents=True, exist_ok=True)
        file = (path / files.LOCK).open("w")
    except OSError as error:
        reason = error.strerror or error
        raise RunDirectoryError(f"cannot write to run directory {path}: {reason}: choose another with --out") from error
    with file:
        notice = None
        if fcntl is not None:
            try:
                # Not flock: loader processes would inherit it, and hold it a while after the run was killed.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EACCES, errno.EAGAIN):
                    raise RunDirectoryError(f"run {path} is in use by another process") from error
                notice = (
                    f"the file system of {path} has no locks ({error.strerror or error}): make sure that no"
                    " other process works on this run"
                )
        yield notice
