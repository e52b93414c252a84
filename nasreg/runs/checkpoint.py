"""Checkpoints that survive being interrupted in the middle of a write, and that cannot run code when loaded."""

from __future__ import annotations

import errno
import pickle
import shlex
import zipfile
from pathlib import Path
from typing import Any

import torch

from nasreg.errors import CheckpointError, StorageError
from nasreg.runs.files import ARCHITECTURES, CHECKPOINT, PREVIOUS_CHECKPOINT
from nasreg.runs.writing import atomic_write

FORMAT = 1


def save_checkpoint(folder: Path, state: dict[str, Any]) -> Path:
    """Write a checkpoint atomically and keep the one before it.

    Where there is no space for three, the older of the two that exist is removed first.

    Args:
        folder: Run directory.
        state: Tensors, numbers, strings, and lists and dicts of them.

    Raises:
        StorageError: There is no space for it; the checkpoint before it is still there.
    """
    last = folder / CHECKPOINT
    try:
        _write(folder, state)
    except StorageError as error:
        if error.errno == errno.EFBIG or not _remove_spare(folder):  # no file helps another one to be larger
            raise
        _write(folder, state)
    # Whenever this is cut short, one of the two names holds a whole checkpoint.
    if last.exists():
        last.replace(folder / PREVIOUS_CHECKPOINT)
    (folder / f"{CHECKPOINT}.new").replace(last)
    return last


def read_back(path: Path) -> None:
    """Read a checkpoint that was just written, so that nobody relies on one that cannot be read.

    Raises:
        CheckpointError: It cannot be read.
    """
    try:
        _read(path, torch.device("cpu"))
    except CheckpointError as error:
        raise CheckpointError(f"{error} although it was just written, so that the run could not be resumed") from error


def _write(folder: Path, state: dict[str, Any]) -> None:
    with atomic_write(folder / f"{CHECKPOINT}.new") as file:
        torch.save({"format": FORMAT, **state}, file)


def _remove_spare(folder: Path) -> bool:
    """Remove one of two checkpoints, the older one unless the newer is damaged; return whether there were two."""
    last, previous = folder / CHECKPOINT, folder / PREVIOUS_CHECKPOINT
    if not (last.exists() and previous.exists()):
        return False
    try:
        _check_whole(last)
    except (CheckpointError, OSError, zipfile.BadZipFile):
        last.unlink()
    else:
        previous.unlink()
    return True


def load_checkpoint(folder: Path, device: torch.device) -> tuple[dict[str, Any] | None, list[str]]:
    """Read the newest whole checkpoint.

    Args:
        folder: Run directory.
        device: Where the tensors go.

    Returns:
        The state, or None if none was written yet; and the problems of checkpoints that were skipped, one sentence
        each.

    Raises:
        CheckpointError: There are checkpoints, but none can be read.
    """
    problems: list[str] = []
    # A ".new" file is whole (it was renamed to that name); it is there if the process died between two renames.
    for name in (f"{CHECKPOINT}.new", CHECKPOINT, PREVIOUS_CHECKPOINT):
        path = folder / name
        if not path.exists():
            continue
        try:
            return _read(path, device), [f"{problem}; using the previous one" for problem in problems]
        except CheckpointError as error:
            problems.append(str(error))
    if problems:
        remedy = shlex.join(["rm", *map(str, sorted(folder.glob("checkpoint*.pt*")))])
        epochs = sorted((folder / ARCHITECTURES).glob("*.json"))
        known = f"; the architecture after its last epoch is {epochs[-1]}" if epochs else ""
        raise CheckpointError(
            f"no checkpoint in {folder} can be read: {'; '.join(problems)}{known}. To start from the beginning, remove"
            f" them and resume again: {remedy}"
        )
    return None, []


def _check_whole(path: Path) -> None:
    """Check that no bit of a checkpoint has changed, which torch.load itself does not notice."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise CheckpointError(f"checkpoint {path} is damaged in {damaged}")


def _read(path: Path, device: torch.device) -> dict[str, Any]:
    try:
        _check_whole(path)
        state = torch.load(path, map_location=device, weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, pickle.UnpicklingError, KeyError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be read ({type(error).__name__})") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"checkpoint {path} is not one of this version of nasreg")
    return state
