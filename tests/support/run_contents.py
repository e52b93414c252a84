"""What two equal runs must have in common."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

CLOCKS = ("seconds", "metrics_position")  # lines with other clock times have other lengths


def contents(run_dir: Path) -> dict[str, Any]:
    """Return all that a run holds, but for clocks and notes on the process."""
    found: dict[str, Any] = {}
    for path in sorted(run_dir.rglob("*.json*")):
        if path.suffix == ".jsonl":
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            found[path.name] = [{key: value for key, value in line.items() if key not in CLOCKS} for line in lines]
        elif path.name not in ("environment.json", "status.json"):
            found[str(path.relative_to(run_dir))] = path.read_text()
    found["cells.svg"] = (run_dir / "cells.svg").read_bytes()
    _flatten("checkpoint", torch.load(run_dir / "checkpoint.pt", weights_only=True), found)
    return found


def _flatten(name: str, value: Any, into: dict[str, Any]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in CLOCKS:
                _flatten(f"{name}/{key}", inner, into)
    else:
        into[name] = value.numpy().tobytes() if isinstance(value, torch.Tensor) else value
