"""Checkpoints that survive being interrupted in the middle of a write, and that cannot run code when loaded."""

from __future__ import annotations

import pickle
import shlex
import zipfile
from pathlib import Path
from typing import Any

import torch

from nasreg.errors import CheckpointError
from nasreg.runs.directory import atomic_write
from nasreg.runs.files import ARCHITECTURES, CHECKPOINT, PREVIOUS_CHECKPOINT, RUN

FORMAT = 1


def save_checkpoint(folder: Path, state: dict[str, Any]) -> Path:
    """Write a checkpoint atomically and keep the one before it.

    Args:
        folder: Run directory.
        state: Tensors, numbers, strings, and lists and dicts of them.
    """
    last = folder / CHECKPOINT
    with atomic_write(folder / f"{CHECKPOINT}.new") as file:
        torch.save({"format": FORMAT, **state}, file)
    # Whenever this is cut short, one of the two names holds a whole checkpoint.
    if last.exists():
        last.replace(folder / PREVIOUS_CHECKPOINT)
    (folder / f"{CHECKPOINT}.new").replace(last)
    return last


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
        epochs = sorted((folder / ARCHITECTURES).glob("*.json"))
        known = f"; the architecture after its last epoch is {epochs[-1]}" if epochs else ""
        raise CheckpointError(
            f"no checkpoint in {folder} can be read ({'; '.join(problems)}): the run cannot be resumed. Start a new one"
            f" with the same options: --config {shlex.quote(str(folder / RUN))}{known}"
        )
    return None, []


def _read(path: Path, device: torch.device) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load itself does not notice flipped bits
            damaged = archive.testzip()
        if damaged is not None:
            raise CheckpointError(f"checkpoint {path} is damaged in {damaged}")
        state = torch.load(path, map_location=device, weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, pickle.UnpicklingError, KeyError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be read ({type(error).__name__})") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"checkpoint {path} is not one of this version of nasreg")
    return state
