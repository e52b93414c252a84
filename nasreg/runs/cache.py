"""The folder for files that can be made again, such as tables in a form that is quick and safe to read. No torch.

It is ``$NASREG_CACHE`` where that is set, else the one that the operating system provides for each user.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

from nasreg.errors import ConfigError
from nasreg.runs.writing import atomic_write

VARIABLE = "NASREG_CACHE"
"""Environment variable with the folder to use."""


def cache_folder() -> Path:
    """Return the folder; it need not exist.

    Raises:
        ConfigError: The home directory of the user is unknown, and ``$NASREG_CACHE`` is not set.
    """
    if given := os.environ.get(VARIABLE):
        return Path(given).absolute()
    try:
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "nasreg"
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "nasreg" / "Cache"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nasreg"
    except RuntimeError as error:
        raise ConfigError(f"there is no folder for cached files ({error}): set {VARIABLE} to one") from error


def cached_file(source: Path, kind: str, write: Callable[[IO[bytes]], None]) -> Path:
    """Return a file that was made from another one, making it if the other one is new or has changed.

    Args:
        source: The file or directory that it is made from; its path, size and time of change identify it.
        kind: What is made of it, with the version of its format, such as ``nasbench201-1.npz``: part of its name.
        write: Writes the file, which appears under its name only when it is complete.

    Raises:
        ConfigError: The source or the cache cannot be read or written.
        Exception: Whatever ``write`` raises; then no file is left.
    """
    try:
        status = source.stat()
    except OSError as error:
        raise ConfigError(f"cannot read {source}: {error.strerror or error}") from error
    identity = f"{source.resolve()}\0{status.st_size}\0{status.st_mtime_ns}"
    name = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:20]
    path = cache_folder() / f"{name}-{kind}"
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                write(file)
        except OSError as error:
            raise ConfigError(
                f"cannot write {path}: {error.strerror or error}; set {VARIABLE} to a folder that can be written"
            ) from error
    return path
