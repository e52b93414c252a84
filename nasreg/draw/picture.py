"""The picture of an architecture: a panel for each cell, a table of the other choices, a legend."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nasreg.draw.layout import Item, Layout, Line, lay_out, state_text
from nasreg.draw.page import (
    FAINT,
    INK,
    KINDS,
    QUIET,
    SOLID,
    TOP,
    UNREACHED,
    Panel,
    Pen,
    heading,
    kind_of,
    page,
    save_page,
)
from nasreg.draw.text import BODY, HEADING, NOTE, printable, short, text_width
from nasreg.draw.words import cell_title, cells, choice_rows
from nasreg.specs.architecture import Architecture
from nasreg.specs.space import CellSpec, SearchSpaceSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NODE_FILL, INPUT_FILL = "#e9eef5", "#f3efe4"


def draw_cells(
    space: SearchSpaceSpec,
    architecture: Architecture,
    path: str | Path,
    *,
    strengths: Mapping[str, Sequence[float]] | None = None,
    title: str | None = None,
) -> Path:
    """Draw an architecture into a file; equal calls write equal bytes.

    Args:
        space: The space of the architecture.
        architecture: What to draw.
        path: An ``.svg`` (with its text as text) or ``.png`` file.
        strengths: Key of a cell -> a number for each of its edges, written on the kept ones. Other keys are ignored.
        title: Heading of the picture.

    Returns:
        The path.

    Raises:
        ConfigError: The name ends otherwise, its folder does not exist, or strengths are not one per edge.
        ArchitectureError: The architecture is not one of the space.
    """
    return save_page(lambda: cells_figure(space, architecture, strengths=strengths, title=title), path)


def cells_figure(
    space: SearchSpaceSpec,
    architecture: Architecture,
    *,
    strengths: Mapping[str, Sequence[float]] | None = None,
    title: str | None = None,
) -> Figure:
    """Return what ``draw_cells`` draws as a matplotlib figure that pyplot knows nothing of.

    Every artist has a ``gid``: ``KEY/state/S``, ``KEY/label/S-T``, ``KEY/line/S-T`` for the edge from state S to T.

    Raises:
        ConfigError: Strengths are not one per edge.
        ArchitectureError: The architecture is not one of the space.
    """
    space.validate(architecture)
    panels = [heading(title)] if title else []
    used: set[str] = set()
    unreached = False
    for cell, decision in cells(space, architecture):
        layout = lay_out(cell, decision, (strengths or {}).get(cell.key))
        panels.append(_cell_panel(cell, layout))
        used |= {kind_of(name) for kept in decision for name, _ in kept}
        unreached = unreached or len(layout.reaching) < len(layout.states)
    if rows := choice_rows(space, architecture):
        panels.append(_table(rows))
    if used:
        panels.append(_legend([kind for kind in KINDS if kind in used], unreached=unreached))

    return page(panels)


def _cell_panel(cell: CellSpec, layout: Layout) -> Panel:
    title = short(cell_title(cell), 60)
    columns = _column_places(layout)
    height = TOP + max(item.y + item.height / 2 for column in layout.columns for item in column)

    def paint(pen: Pen, x: float, y: float) -> None:
        pen.text(x, y + 6, title, HEADING, bold=True)
        places = [(x + left, x + right) for left, right in columns]
        for line in layout.lines:
            _paint_line(pen, cell.key, line, places, y + TOP)
        for state, item in enumerate(layout.states):
            node, reached = cell.inputs <= state < len(layout.states) - 1, state in layout.reaching
            fill = "#ffffff" if not reached else NODE_FILL if node else INPUT_FILL
            place = sum(places[item.column]) / 2, y + TOP + item.y
            edge, dashes = (INK, SOLID) if reached else UNREACHED
            pen.box(*place, item, f"{cell.key}/state/{state}", edge, fill, dashes)
            colour = INK if reached else QUIET
            pen.text(*place, state_text(cell, state), BODY + 0.5, colour=colour, math=True, align="center")

    return Panel(max(columns[-1][1], text_width(title, HEADING, bold=True)), height, paint)


def _column_places(layout: Layout) -> list[tuple[float, float]]:
    """Return where each column starts and ends; steep lines get more room between columns."""
    places: list[tuple[float, float]] = []
    for column in layout.columns:
        steepest = max((abs(item.y - other.y) for item in column for other in item.before), default=0.0)
        start = places[-1][1] + min(18 + 0.22 * steepest, 46) if places else 0.0
        places.append((start, start + max(item.width for item in column)))
    return places


def _paint_line(pen: Pen, key: str, line: Line, places: Sequence[tuple[float, float]], top: float) -> None:
    _, colour, dashes = KINDS[kind_of(line.operation)] if line.operation is not None else ((), FAINT, SOLID)
    points = []
    for number, item in enumerate(line.items):
        start, end = places[item.column]
        y = top + item.y
        if item.state is not None:  # from the border of its box, at a port
            y += item.port(line.items[-2] if number else line.items[1])
            middle = (start + end) / 2
            start, end = (start, middle - item.width / 2) if number else (middle + item.width / 2, end)
        points += [(start, y), (end, y)]
    name = f"{line.source}-{line.target}"
    pen.arrow(points, f"{key}/line/{name}", colour, 1.4 if line.operation else 1.0, dashes)
    if line.label is not None and line.operation is not None:
        x, y = sum(places[line.label.column]) / 2, top + line.label.y
        pen.box(x, y, line.label, f"{key}/label/{name}", colour, "#ffffff")
        pen.text(x, y - (4 if line.note else 0), short(line.operation), colour=colour, align="center")
        if line.note:
            pen.text(x, y + 5.5, line.note, NOTE, colour=QUIET, align="center")


def _table(rows: Sequence[tuple[str, str]]) -> Panel:
    """Key and what was chosen, in as many blocks side by side as keep the picture from becoming a strip."""
    wrapped = [(textwrap.wrap(key, 40), textwrap.wrap(printable(chosen), 48)) for key, chosen in rows]
    size = math.ceil(len(wrapped) / math.ceil(len(wrapped) / 20))
    line, room, gap = 12.0, 5.0, 16.0
    texts: list[tuple[float, float, str, str]] = []
    rules: list[tuple[float, float, float]] = []
    x = height = 0.0
    for start in range(0, len(wrapped), size):
        block, y = wrapped[start : start + size], TOP
        keys, chosen = (max(text_width(text, BODY) for row in block for text in row[side]) for side in (0, 1))
        for row in block:
            rules.append((x, y, keys + gap + chosen))
            for side, colour in ((0, QUIET), (1, INK)):
                for number, text in enumerate(row[side]):
                    texts.append((x + side * (keys + gap), y + room / 2 + line * (number + 0.5), text, colour))
            y += line * max(map(len, row)) + room
        height = max(height, y)
        x += keys + gap + chosen + 2 * gap

    def paint(pen: Pen, left: float, top: float) -> None:
        pen.text(left, top + 6, "choices", HEADING, bold=True)
        for x, y, length in rules:
            pen.rule(left + x, top + y, length, FAINT, 0.5)
        for x, y, text, colour in texts:
            pen.text(left + x, top + y, text, colour=colour)

    return Panel(max(x - 2 * gap, text_width("choices", HEADING, bold=True)), height, paint)


def _legend(kinds: Iterable[str], *, unreached: bool) -> Panel:
    entries = [(kind, *KINDS[kind][1:], 1.4) for kind in kinds]
    if unreached:
        entries.append(("no way to the output", *UNREACHED, 0.9))
    widths = [42 + text_width(text, BODY) for text, *_ in entries]

    def paint(pen: Pen, x: float, y: float) -> None:
        for (text, colour, dashes, thickness), width in zip(entries, widths, strict=True):
            if dashes is UNREACHED[1]:
                pen.box(x + 11, y + 6, Item(0, width=20, height=12), "legend/unreached", colour, "#ffffff", dashes)
            else:
                pen.rule(x, y + 6, 22, colour, thickness, dashes)
            pen.text(x + 28, y + 6, text)
            x += width

    return Panel(sum(widths) - 14, 12, paint)
