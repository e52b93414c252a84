"""Runs on disk: the run directory, checkpoints, callbacks that record a run, and progress displays."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasreg.runs.callbacks import JsonLines, TensorBoard, read_metrics
    from nasreg.runs.directory import RunDirectory

_HOME = {
    "JsonLines": "nasreg.runs.callbacks",
    "RunDirectory": "nasreg.runs.directory",
    "TensorBoard": "nasreg.runs.callbacks",
    "read_metrics": "nasreg.runs.callbacks",
}

__all__ = ["JsonLines", "RunDirectory", "TensorBoard", "read_metrics"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
