"""Run directories as the command line makes and prints them. Imports no torch."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

from nasreg.errors import RunDirectoryError
from nasreg.runs.launch import is_first


@contextlib.contextmanager
def run_directory(out: Path | None, name: str) -> Iterator[Path]:
    """Return the run directory: the one that is given, or a new one in ``runs/``.

    A new one is created at once, so that two runs that start in the same second get two directories; if nothing was
    written into it, it is removed again.

    Args:
        out: The run directory, if it is given.
        name: Name of a new one; the time is added.
    """
    if out is not None:
        yield out
        return
    if not is_first():
        yield Path("runs") / name  # nothing is written there
        return
    safe = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in name)
    base = Path("runs") / f"{safe}-{time.strftime('%Y%m%d-%H%M%S')}"
    made = [folder for folder in (base.parent,) if not folder.exists()]
    path = _new_directory(base)
    try:
        yield path
    finally:
        for folder in (path, *made):
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()


def _new_directory(base: Path) -> Path:
    for number in range(1, 1000):
        path = base if number == 1 else base.with_name(f"{base.name}-{number}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            if path.is_dir():
                continue
            raise RunDirectoryError(f"{path} is a file: choose another run directory with --out") from None
        except OSError as error:
            raise RunDirectoryError(
                f"cannot make run directory {path}: {error.strerror}: choose another with --out"
            ) from error
        return path
    raise RunDirectoryError(f"there are too many run directories {base}-N: choose one with --out")


def shell_command(name: str, path: Path, *more: str) -> str:
    """Return a command on a path as a user types it, quoted for a shell."""
    return shlex.join(["nasreg", name, short(path), *more])


def short(path: Path) -> str:
    """Return a path relative to the current directory if it is below it."""
    try:
        text = str(path.relative_to(Path.cwd()))
    except ValueError:
        text = str(path)
    return f"./{text}" if text.startswith("-") else text  # else it would be an option of the next command
