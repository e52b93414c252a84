"""The contents of a run that two equal runs must share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from nasreg.runs import files

_CLOCKS = ("seconds", "metrics_position")  # lines with other clock times have other lengths
_OF_THE_PROCESS = (files.ENVIRONMENT, files.OPTIONS, files.STATUS, files.COST, files.TRIAL_ERRORS)


def run_contents(run_dir: str | Path) -> dict[str, Any]:
    """Return everything that a run found and wrote, except clock times and facts about the process.

    Trials are in the order of their ids, not in that in which they ended.

    Args:
        run_dir: A run that has finished.

    Returns:
        File, and of a checkpoint or of weights also the entry in it (``checkpoint.pt/model/conv.weight``) -> its
        content.
    """
    folder = Path(run_dir)
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".jsonl":
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            if path.name == files.TRIALS:
                lines.sort(key=lambda line: int(line["trial"]))
            found[name] = [{key: value for key, value in line.items() if key not in _CLOCKS} for line in lines]
        elif path.suffix in (".json", ".svg", ".txt") and path.name not in _OF_THE_PROCESS:
            found[name] = path.read_bytes()
        elif path.name in (files.CHECKPOINT, files.TRIAL_WEIGHTS):
            _flatten(name, torch.load(path, weights_only=True), found)
    return found


def differences(one: str | Path, other: str | Path) -> list[str]:
    """Return the names of the contents that differ between two runs, bit for bit; see ``run_contents``."""
    first, second = run_contents(one), run_contents(other)
    missing = object()
    return sorted(
        name for name in first.keys() | second.keys() if first.get(name, missing) != second.get(name, missing)
    )


def _flatten(name: str, value: Any, into: dict[str, Any]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in _CLOCKS:
                _flatten(f"{name}/{key}", inner, into)
    elif isinstance(value, torch.Tensor):
        into[name] = (value.dtype, tuple(value.shape), value.cpu().contiguous().view(-1).numpy().tobytes())
    else:
        into[name] = value
