"""NAS-Bench-201 (Dong, Yang, arXiv 2001.00326) as a plugin for nasreg: its search space and its table of results."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasreg_nasbench201.callback import TrueAccuracy

__version__ = "0.1.0"

__all__ = ["TrueAccuracy"]


def __getattr__(name: str) -> Any:
    if name == "TrueAccuracy":
        return importlib.import_module("nasreg_nasbench201.callback").TrueAccuracy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
