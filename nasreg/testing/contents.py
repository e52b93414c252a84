"""What two equal runs must have in common."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

_CLOCKS = ("seconds", "metrics_position")  # lines with other clock times have other lengths
_OF_THE_PROCESS = ("environment.json", "status.json", "cost.json")


def run_contents(run_dir: str | Path) -> dict[str, Any]:
    """Return all that a run found and kept, but for clock times and notes on the process.

    Args:
        run_dir: A run that has finished.

    Returns:
        File, and in a checkpoint also what in it (``checkpoint.pt/model/conv.weight``) -> its content.
    """
    folder = Path(run_dir)
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".jsonl":
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            found[name] = [{key: value for key, value in line.items() if key not in _CLOCKS} for line in lines]
        elif path.suffix in (".json", ".svg", ".txt") and path.name not in _OF_THE_PROCESS:
            found[name] = path.read_bytes()
    _flatten("checkpoint.pt", torch.load(folder / "checkpoint.pt", weights_only=True), found)
    return found


def differences(one: str | Path, other: str | Path) -> list[str]:
    """Return the names of what differs between two runs, bit for bit; see ``run_contents``."""
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
