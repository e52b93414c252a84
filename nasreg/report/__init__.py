"""Drawings of architectures and the HTML page of a run.

``drawing/`` draws cells, remaining candidates and whole networks with matplotlib; ``page/`` reads a run directory and
writes its ``index.html`` with jinja2; ``describe`` turns an architecture into text and needs neither. Both packages are
optional (``pip install "nasreg[report]"``), see ``packages``. Nothing in here imports torch.

Each name is imported when it is first used, so that importing this module stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasreg.report.commands import Command, next_commands
    from nasreg.report.describe import describe_architecture
    from nasreg.report.drawing.candidates import draw_candidates
    from nasreg.report.drawing.cells import cells_figure, draw_cells
    from nasreg.report.drawing.network import draw_network
    from nasreg.report.packages import missing_packages
    from nasreg.report.page.front import draw_front
    from nasreg.report.page.write import write_report

_HOMES = {
    "commands": ("Command", "next_commands"),
    "describe": ("describe_architecture",),
    "drawing.candidates": ("draw_candidates",),
    "drawing.cells": ("cells_figure", "draw_cells"),
    "drawing.network": ("draw_network",),
    "packages": ("missing_packages",),
    "page.front": ("draw_front",),
    "page.write": ("write_report",),
}
_HOME = {name: f"nasreg.report.{module}" for module, names in _HOMES.items() for name in names}

__all__ = [
    "Command",
    "cells_figure",
    "describe_architecture",
    "draw_candidates",
    "draw_cells",
    "draw_front",
    "draw_network",
    "missing_packages",
    "next_commands",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return found


def __dir__() -> list[str]:
    return __all__
