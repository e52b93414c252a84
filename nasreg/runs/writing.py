"""Writing files so that nothing is lost or half there: atomic files, and files that grow by whole lines. No torch.

A disk that is full, a quota that is used up and a limit of file sizes have a class of their own, ``StorageError``: they
can occur in the middle of a run, which is resumed when there is space.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from nasreg.errors import RunDirectoryError, StorageError

_REMEDIES = {
    errno.ENOSPC: "free some space on its disk",
    errno.EDQUOT: "your quota is used up: delete files",
    errno.EFBIG: "the limit of file sizes is too low for it: raise it (ulimit -f unlimited)",
}


def is_full(error: BaseException) -> bool:
    """Return whether an error says that there is no space for a file."""
    return isinstance(error, OSError) and error.errno in _REMEDIES


def storage_error(path: Path, error: OSError) -> StorageError:
    """Return the error that names a file that cannot be written, the reason, and what to do about it."""
    remedy = _REMEDIES.get(error.errno or 0)
    return StorageError(f"cannot write {path}: {error.strerror or error}{f'; {remedy}' if remedy else ''}", error.errno)


_synced = True
"""Whether each file is forced to disk before it appears under its name."""


@contextlib.contextmanager
def synced_at_the_end() -> Iterator[None]:
    """Return a context in which files are forced to disk all together at its end, which takes a fraction of the time.

    A process that is killed in it loses nothing. If the machine itself goes down, files written in it may be damaged.
    """
    global _synced  # noqa: PLW0603  # a property of the process, as the disk is
    before, _synced = _synced, False
    try:
        yield
    finally:
        _synced = before
        if hasattr(os, "sync"):
            os.sync()


class _RawFile(io.FileIO):
    """Remembers the error of a write: torch raises another one in its place."""

    failed: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.failed = error
            raise


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears under its name only when it is complete and on disk; after an error nothing is left.

    Args:
        path: The name; its folder exists.

    Raises:
        StorageError: There is no space for it.
        OSError: It cannot be written for another reason; the error names this file.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    raw: _RawFile | None = None
    try:
        raw = _RawFile(part, "w")
        with io.BufferedWriter(raw) as file:
            yield cast("IO[bytes]", file)
            file.flush()
            if _synced:
                os.fsync(file.fileno())
        part.replace(path)
    except Exception as error:
        failed = raw.failed if raw is not None and raw.failed is not None else error
        if not isinstance(failed, OSError):
            raise
        if is_full(failed):
            raise storage_error(path, failed) from error
        # a user knows the file by its name, not by that of its first half
        raise OSError(failed.errno, failed.strerror or str(failed), str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


class LineFile:
    """A file that grows by whole lines, each of which is with the operating system when ``append`` returns.

    Args:
        path: The file; it is made if it does not exist.

    Raises:
        StorageError: There is no space for it.
        RunDirectoryError: It cannot be opened for another reason.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            if is_full(error):
                raise storage_error(path, error) from error
            raise RunDirectoryError(f"cannot write {path}: {error.strerror or error}") from error

    def append(self, line: bytes) -> None:
        """Write a line, to which the newline is added, or nothing at all.

        Raises:
            StorageError: It cannot be written.
        """
        before, rest = self.size(), line + b"\n"
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(before)
            raise storage_error(self.path, error) from error

    def size(self) -> int:
        """Return the size of the file in bytes."""
        return self._file.seek(0, os.SEEK_END)

    def sync(self) -> None:
        """Write to disk what the operating system holds.

        Raises:
            StorageError: It cannot be written.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise storage_error(self.path, error) from error

    def truncate(self, size: int) -> None:
        """Drop what comes after a size."""
        self._file.truncate(size)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
