"""The drawing of the candidates that are left on each edge of each cell during a search, with their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nasreg.report.describe import cell_title, edge_title
from nasreg.report.drawing.canvas import TITLE_HEIGHT, Panel, Pen, compose, heading, save_figure
from nasreg.report.drawing.colours import INK, KINDS, PAPER, QUIET, REMOVED, operation_kind
from nasreg.report.drawing.fonts import BODY, NOTE, text_width
from nasreg.specs.formatting import printable, shorten
from nasreg.specs.space import CellSpec, SearchSpaceSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROW, GAP = 15.0, 6.0


def draw_candidates(
    space: SearchSpaceSpec,
    path: str | Path,
    *,
    remaining: Mapping[str, Sequence[Sequence[str]]],
    weights: Mapping[str, Sequence[Mapping[str, float]]] | None = None,
    title: str | None = None,
) -> Path:
    """Draw a table for each cell: a row for each edge, a column for each operation, filled where it is left.

    Args:
        space: The search space with all its candidates.
        path: An ``.svg`` or ``.png`` file.
        remaining: Key of a cell -> the operations that are left on each edge.
        weights: Key of a cell -> for each edge the weight of each operation by its name, written into the table.
        title: Heading of the drawing.

    Returns:
        The path.

    Raises:
        ConfigError: matplotlib is not installed, or the path cannot be used.
    """

    def make() -> Figure:
        panels = [heading(title)] if title else []
        for cell in space.choices:
            if isinstance(cell, CellSpec) and cell.key in remaining:
                panels.append(_table(cell, remaining[cell.key], (weights or {}).get(cell.key)))
        return compose(panels)

    return save_figure(make, path)


def _table(cell: CellSpec, remaining: Sequence[Sequence[str]], weights: Sequence[Mapping[str, float]] | None) -> Panel:
    operations = list(dict.fromkeys(name for names in cell.candidates for name in names))
    labels = [edge_title(cell, edge) for edge in range(cell.n_edges)]
    first = max(text_width(label, BODY) for label in labels) + 2 * GAP
    widths = [max(text_width(shorten(name), BODY), 26.0) + 2 * GAP for name in operations]

    def paint(pen: Pen, x: float, y: float) -> None:
        pen.text(x, y + 6, cell_title(cell), BODY + 1.5, bold=True)
        place = x + first
        for name, width in zip(operations, widths, strict=True):
            pen.text(place + width / 2, y + TITLE_HEIGHT + ROW / 2, shorten(name), colour=INK, align="center")
            for edge in range(cell.n_edges):
                row = y + TITLE_HEIGHT + ROW * (edge + 1)
                is_left = name in remaining[edge]
                colour = KINDS[operation_kind(name)][1] if is_left else REMOVED
                pen.cell(place + 1, row + 1, width - 2, ROW - 2, colour, f"{cell.key}/{edge}/{name}/{int(is_left)}")
                weight = weights[edge].get(name) if weights is not None else None
                if weight is not None:
                    pen.text(
                        place + width / 2, row + ROW / 2, f"{weight:.2f}", NOTE,
                        colour=PAPER if is_left else QUIET, align="center",
                    )  # fmt: skip
            place += width
        for edge, label in enumerate(labels):
            pen.text(x, y + TITLE_HEIGHT + ROW * (edge + 1.5), printable(label), colour=QUIET)

    return Panel(first + sum(widths), TITLE_HEIGHT + ROW * (cell.n_edges + 1), paint)
