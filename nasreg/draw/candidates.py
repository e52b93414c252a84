"""The picture of what is left: which candidates each edge of each cell still has, and how strong they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nasreg.draw.page import INK, KINDS, QUIET, Panel, Pen, heading, kind_of, page, save_page
from nasreg.draw.text import BODY, NOTE, printable, short, text_width
from nasreg.draw.words import cell_title, state_name
from nasreg.specs.space import CellSpec, SearchSpaceSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROW, GAP = 15.0, 6.0
EMPTY = "#eeeeee"


def draw_candidates(
    space: SearchSpaceSpec,
    path: str | Path,
    *,
    left: Mapping[str, Sequence[Sequence[str]]],
    weights: Mapping[str, Sequence[Mapping[str, float]]] | None = None,
    title: str | None = None,
) -> Path:
    """Draw a table for each cell: a row for each edge, a column for each operation, filled where it is still there.

    Args:
        space: The space of the run, with all its candidates.
        path: An ``.svg`` or ``.png`` file.
        left: Key of a cell -> the operations left on each edge.
        weights: Key of a cell -> for each edge the weight of an operation by name, written into the table.
        title: Heading of the picture.

    Raises:
        ConfigError: The name ends otherwise, or its folder does not exist.
    """

    def make() -> Figure:
        panels = [heading(title)] if title else []
        for cell in space.choices:
            if isinstance(cell, CellSpec) and cell.key in left:
                panels.append(_table(cell, left[cell.key], (weights or {}).get(cell.key)))
        return page(panels)

    return save_page(make, path)


def _table(cell: CellSpec, left: Sequence[Sequence[str]], weights: Sequence[Mapping[str, float]] | None) -> Panel:
    operations = list(dict.fromkeys(name for names in cell.candidates for name in names))
    edges = [(source, node) for node in range(cell.nodes) for source in range(cell.inputs + node)]
    labels = [f"{state_name(cell, source)} to {state_name(cell, cell.inputs + node)}" for source, node in edges]
    first = max(text_width(label, BODY) for label in labels) + 2 * GAP
    widths = [max(text_width(short(name), BODY), 26.0) + 2 * GAP for name in operations]
    top = 22.0

    def paint(pen: Pen, x: float, y: float) -> None:
        pen.text(x, y + 6, cell_title(cell), BODY + 1.5, bold=True)
        place = x + first
        for name, width in zip(operations, widths, strict=True):
            pen.text(place + width / 2, y + top + ROW / 2, short(name), colour=INK, align="center")
            for edge in range(len(edges)):
                row = y + top + ROW * (edge + 1)
                here = name in left[edge]
                colour = KINDS[kind_of(name)][1] if here else EMPTY
                pen.cell(place + 1, row + 1, width - 2, ROW - 2, colour, f"{cell.key}/{edge}/{name}/{int(here)}")
                weight = weights[edge].get(name) if weights is not None else None
                if weight is not None:
                    pen.text(
                        place + width / 2, row + ROW / 2, f"{weight:.2f}", NOTE,
                        colour="#ffffff" if here else QUIET, align="center",
                    )  # fmt: skip
            place += width
        for edge, label in enumerate(labels):
            pen.text(x, y + top + ROW * (edge + 1.5), printable(label), colour=QUIET)

    return Panel(first + sum(widths), top + ROW * (len(edges) + 1), paint)
