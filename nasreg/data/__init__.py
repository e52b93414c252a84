"""Data sets by name, from a folder, or from Python; their split for a search; batches. Imports torch when used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasreg.data.config import DatasetConfig
    from nasreg.data.loaded import LoadedDataset, from_torch
    from nasreg.data.parts import Batch, Part, SearchData

_HOME = {
    "Batch": "nasreg.data.parts",
    "DatasetConfig": "nasreg.data.config",
    "LoadedDataset": "nasreg.data.loaded",
    "Part": "nasreg.data.parts",
    "SearchData": "nasreg.data.parts",
    "from_torch": "nasreg.data.loaded",
}

__all__ = ["Batch", "DatasetConfig", "LoadedDataset", "Part", "SearchData", "from_torch"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
