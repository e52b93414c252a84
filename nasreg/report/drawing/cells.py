"""The drawing of an architecture: a panel for each cell, stack and chain, a table of other choices, a legend."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nasreg.report.describe import cell_title, cells, choice_rows, stacks
from nasreg.report.drawing.canvas import TITLE_HEIGHT, Panel, Pen, compose, heading, save_figure
from nasreg.report.drawing.chain import chain_blocks, chain_panel
from nasreg.report.drawing.colours import (
    FAINT,
    INK,
    INPUT_FILL,
    KINDS,
    NODE_FILL,
    PAPER,
    QUIET,
    SOLID,
    UNUSED,
    operation_kind,
)
from nasreg.report.drawing.fonts import BODY, HEADING, NOTE, text_width
from nasreg.report.drawing.layout import Item, Layout, Line, lay_out_cell, state_label
from nasreg.report.drawing.stack import blocks_panel, stack_panel
from nasreg.report.packages import require_drawing_packages
from nasreg.specs.architecture import Architecture
from nasreg.specs.formatting import printable, shorten
from nasreg.specs.space import CellSpec, LayerChoiceSpec, SearchSpaceSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_cells(
    space: SearchSpaceSpec,
    architecture: Architecture,
    path: str | Path,
    *,
    strengths: Mapping[str, Sequence[float]] | None = None,
    title: str | None = None,
) -> Path:
    """Draw an architecture and write the drawing to a file; equal calls write equal bytes.

    Args:
        space: The space of the architecture.
        architecture: The architecture to draw.
        path: An ``.svg`` (with its text as text) or ``.png`` file.
        strengths: Key of a cell -> a number for each of its edges, written on the kept ones. Other keys are ignored.
        title: Heading of the drawing.

    Returns:
        The path.

    Raises:
        ConfigError: matplotlib is not installed, the path cannot be used, or there is not one strength per edge.
        ArchitectureError: The architecture does not belong to the space.
    """
    return save_figure(lambda: cells_figure(space, architecture, strengths=strengths, title=title), path)


def cells_figure(
    space: SearchSpaceSpec,
    architecture: Architecture,
    *,
    strengths: Mapping[str, Sequence[float]] | None = None,
    title: str | None = None,
) -> Figure:
    """Return the drawing of ``draw_cells`` as a matplotlib figure that pyplot does not manage.

    Stacks of blocks, and scopes of layer choices, are drawn as ``nasreg.report.drawing.stack`` says. In cells every
    artist has a ``gid``: ``KEY/state/S``, ``KEY/label/S-T``, ``KEY/line/S-T`` for the edge from state S to T, followed
    by ``-N`` where slot N of a node with slots keeps it.

    Raises:
        ConfigError: matplotlib is not installed, or there is not one strength per edge.
        ArchitectureError: The architecture does not belong to the space.
    """
    require_drawing_packages()
    space.validate(architecture)
    panels = [heading(title)] if title else []
    used: set[str] = set()
    has_unused = False
    for cell, decision in cells(space, architecture):
        layout = lay_out_cell(cell, decision, (strengths or {}).get(cell.key))
        panels.append(_cell_panel(cell, layout))
        used |= {operation_kind(name) for kept in decision for name, _ in kept}
        has_unused = has_unused or len(layout.used) < len(layout.states)
    shown: set[str] = set()
    for repeat, blocks in stacks(space):
        if any(blocks):
            panels.append(stack_panel(repeat, blocks, architecture))
            shown |= {repeat.key, *(choice.key for block in blocks for choice in block)}
    if blocks_of_chain := chain_blocks(space):
        panels.append(chain_panel(blocks_of_chain, architecture))
        shown |= {choice.key for block in blocks_of_chain for choice in block.choices}
    for name, keys in space.groups.items():
        layers = [space[key] for key in keys]
        if not shown & set(keys) and all(isinstance(choice, LayerChoiceSpec) for choice in layers):
            panels.append(blocks_panel(name, name, [[choice] for choice in layers], architecture))
            shown |= set(keys)
    if rows := [row for row in choice_rows(space, architecture) if row[0] not in shown]:
        panels.append(_table(rows))
    if used:
        panels.append(_legend([kind for kind in KINDS if kind in used], has_unused=has_unused))
    return compose(panels)


def _cell_panel(cell: CellSpec, layout: Layout) -> Panel:
    title = shorten(cell_title(cell), 60)
    columns = _column_places(layout)
    height = TITLE_HEIGHT + max(item.y + item.height / 2 for column in layout.columns for item in column)

    def paint(pen: Pen, x: float, y: float) -> None:
        pen.text(x, y + 6, title, HEADING, bold=True)
        places = [(x + left, x + right) for left, right in columns]
        for line in layout.lines:
            _paint_line(pen, cell.key, line, places, y + TITLE_HEIGHT)
        for state, item in enumerate(layout.states):
            is_node, is_used = cell.inputs <= state < len(layout.states) - 1, state in layout.used
            fill = PAPER if not is_used else NODE_FILL if is_node else INPUT_FILL
            place = sum(places[item.column]) / 2, y + TITLE_HEIGHT + item.y
            edge, dashes = (INK, SOLID) if is_used else UNUSED
            pen.box(*place, item, f"{cell.key}/state/{state}", edge, fill, dashes)
            colour = INK if is_used else QUIET
            pen.text(*place, state_label(cell, state), BODY + 0.5, colour=colour, math=True, align="center")

    return Panel(max(columns[-1][1], text_width(title, HEADING, bold=True)), height, paint)


def _column_places(layout: Layout) -> list[tuple[float, float]]:
    """Return the left and right end of each column; steep lines get more room between columns."""
    places: list[tuple[float, float]] = []
    for column in layout.columns:
        steepest = max((abs(item.y - other.y) for item in column for other in item.before), default=0.0)
        start = places[-1][1] + min(18 + 0.22 * steepest, 46) if places else 0.0
        places.append((start, start + max(item.width for item in column)))
    return places


def _paint_line(pen: Pen, key: str, line: Line, places: Sequence[tuple[float, float]], top: float) -> None:
    _, colour, dashes = KINDS[operation_kind(line.operation)] if line.operation is not None else ((), FAINT, SOLID)
    points = []
    for number, item in enumerate(line.items):
        start, end = places[item.column]
        y = top + item.y
        if item.state is not None:  # from the border of its box, at a port
            y += item.port(line.items[-2] if number else line.items[1])
            middle = (start + end) / 2
            start, end = (start, middle - item.width / 2) if number else (middle + item.width / 2, end)
        points += [(start, y), (end, y)]
    name = f"{line.source}-{line.target}" + ("" if line.slot is None else f"-{line.slot}")
    pen.arrow(points, f"{key}/line/{name}", colour, 1.4 if line.operation else 1.0, dashes)
    if line.label is not None and line.operation is not None:
        x, y = sum(places[line.label.column]) / 2, top + line.label.y
        pen.box(x, y, line.label, f"{key}/label/{name}", colour, PAPER)
        pen.text(x, y - (4 if line.note else 0), shorten(line.operation), colour=colour, align="center")
        if line.note:
            pen.text(x, y + 5.5, line.note, NOTE, colour=QUIET, align="center")


def _table(rows: Sequence[tuple[str, str]]) -> Panel:
    """Return a table of keys and decisions, in several blocks side by side where it would get too long."""
    wrapped = [(textwrap.wrap(key, 40), textwrap.wrap(printable(decision), 48)) for key, decision in rows]
    size = math.ceil(len(wrapped) / math.ceil(len(wrapped) / 20))
    line, room, gap = 12.0, 5.0, 16.0
    texts: list[tuple[float, float, str, str]] = []
    rules: list[tuple[float, float, float]] = []
    x = height = 0.0
    for start in range(0, len(wrapped), size):
        block, y = wrapped[start : start + size], TITLE_HEIGHT
        keys, decision = (max(text_width(text, BODY) for row in block for text in row[side]) for side in (0, 1))
        for row in block:
            rules.append((x, y, keys + gap + decision))
            for side, colour in ((0, QUIET), (1, INK)):
                for number, text in enumerate(row[side]):
                    texts.append((x + side * (keys + gap), y + room / 2 + line * (number + 0.5), text, colour))
            y += line * max(map(len, row)) + room
        height = max(height, y)
        x += keys + gap + decision + 2 * gap

    def paint(pen: Pen, left: float, top: float) -> None:
        pen.text(left, top + 6, "choices", HEADING, bold=True)
        for x, y, length in rules:
            pen.rule(left + x, top + y, length, FAINT, 0.5)
        for x, y, text, colour in texts:
            pen.text(left + x, top + y, text, colour=colour)

    return Panel(max(x - 2 * gap, text_width("choices", HEADING, bold=True)), height, paint)


def _legend(kinds: Iterable[str], *, has_unused: bool) -> Panel:
    entries = [(kind, *KINDS[kind][1:], 1.4) for kind in kinds]
    if has_unused:
        entries.append(("no path to the output", *UNUSED, 0.9))
    widths = [42 + text_width(text, BODY) for text, *_ in entries]

    def paint(pen: Pen, x: float, y: float) -> None:
        for (text, colour, dashes, thickness), width in zip(entries, widths, strict=True):
            if dashes is UNUSED[1]:
                pen.box(x + 11, y + 6, Item(0, width=20, height=12), "legend/unused", colour, PAPER, dashes)
            else:
                pen.rule(x, y + 6, 22, colour, thickness, dashes)
            pen.text(x + 28, y + 6, text)
            x += width

    return Panel(sum(widths) - 14, 12, paint)
