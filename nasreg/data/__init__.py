"""Data sets by name, from a folder, or from Python; their split for a search; batches. Imports torch when used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasreg.data.bundle import DatasetBundle, from_torch
    from nasreg.data.config import DatasetConfig
    from nasreg.data.run_data import RunData
    from nasreg.data.splits import Batch, DataSplit

_HOME = {
    "Batch": "nasreg.data.splits",
    "DatasetConfig": "nasreg.data.config",
    "DatasetBundle": "nasreg.data.bundle",
    "DataSplit": "nasreg.data.splits",
    "RunData": "nasreg.data.run_data",
    "from_torch": "nasreg.data.bundle",
}

__all__ = ["Batch", "DataSplit", "DatasetBundle", "DatasetConfig", "RunData", "from_torch"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
