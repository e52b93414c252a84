"""The drawing of a stack of blocks: the computed ones from left to right, and the connections between them above.

A stack is a ``Repeat``, or a scope with nothing but layer choices in it, each of which is a block.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, cast

from nasreg.report.describe import decision_text
from nasreg.report.drawing.canvas import TITLE_HEIGHT, Panel, Pen
from nasreg.report.drawing.colours import INK, INPUT_FILL, KINDS, NODE_FILL, QUIET, SOLID
from nasreg.report.drawing.fonts import BODY, HEADING, text_width
from nasreg.report.drawing.layout import Item
from nasreg.specs.architecture import Architecture
from nasreg.specs.formatting import shorten
from nasreg.specs.space import AnyChoiceSpec, CellSpec, InputChoiceSpec, RepeatSpec

LINE, LEVEL, PORT, GAP = 12.0, 8.0, 7.0, 22.0
"""Heights of a line of text and of a level of connections, distances of two connections at a box, and of two boxes."""

BLOCK = "block"
"""Title of a box; the decision of a choice that is named so needs no other name."""

STYLES = tuple((colour, dashes) for _, colour, dashes in KINDS.values())


class Connection(NamedTuple):
    """A connection from an earlier block."""

    kind: str
    source: int
    target: int


def connections(block: Sequence[AnyChoiceSpec], number: int, architecture: Architecture) -> list[Connection]:
    """Return the connections that a block has chosen: inputs named by a text and the number of an earlier block."""
    found = []
    for choice in block:
        if isinstance(choice, InputChoiceSpec):
            for name in cast("tuple[str, ...]", architecture.decisions[choice.key]):
                match = re.fullmatch(r"(\D*)(\d+)", name)
                if match and int(match[2]) < number:
                    found.append(Connection(match[1], int(match[2]), number))
    return found


def stack_panel(repeat: RepeatSpec, blocks: Sequence[Sequence[AnyChoiceSpec]], architecture: Architecture) -> Panel:
    """Return the panel of a repeated stack.

    Args:
        repeat: The choice of the depth.
        blocks: The choices of each block.
        architecture: The architecture.
    """
    depth = cast("int", architecture.decisions[repeat.key])
    return blocks_panel(repeat.key, f"{repeat.key} = {depth} of {repeat.depths[-1]}", blocks[:depth], architecture)


def blocks_panel(key: str, title: str, blocks: Sequence[Sequence[AnyChoiceSpec]], architecture: Architecture) -> Panel:
    """Return the panel of some blocks.

    Boxes have the gid ``KEY/block/N``, connections ``KEY/connection/KIND/SOURCE-TARGET``.

    Args:
        key: Key of the stack.
        title: Its title.
        blocks: The choices of each block.
        architecture: The architecture.
    """
    depth, title = len(blocks), shorten(title, 60)
    lines = [_lines(block, number, architecture) for number, block in enumerate(blocks)]
    arcs = [each for number, block in enumerate(blocks) for each in connections(block, number, architecture)]
    arcs.sort(key=lambda arc: (arc.target - arc.source, arc.source, arc.kind))
    kinds = list(dict.fromkeys(sorted(arc.kind for arc in arcs)))
    ports = [[arc for arc in arcs if number in arc[1:]] for number in range(depth)]
    for number, each in enumerate(ports):  # arrivals to the left of departures, so that lines do not cross over the box
        each.sort(key=lambda arc: (arc.source == number, arc.source, -arc.target, arc.kind))
    widths = [
        max([text_width(text, BODY) for text in texts] + [PORT * len(each)]) + 14
        for texts, each in zip(lines, ports, strict=True)
    ]
    starts = [sum(widths[:number]) + GAP * number for number in range(depth)]
    height = LINE * max(map(len, lines), default=0) + 10
    top = TITLE_HEIGHT + LEVEL * (len(arcs) + 1) + (LINE if kinds else 0)

    def port(number: int, arc: Connection) -> float:
        place = ports[number].index(arc) - (len(ports[number]) - 1) / 2
        return starts[number] + widths[number] / 2 + PORT * place

    def paint(pen: Pen, x: float, y: float) -> None:
        pen.text(x, y + 6, title, HEADING, bold=True)
        place = x
        for kind, (colour, dashes) in zip(kinds, STYLES * len(kinds), strict=False):
            pen.rule(place, y + TITLE_HEIGHT + LINE / 2, 22, colour, 1.4, dashes)
            pen.text(place + 28, y + TITLE_HEIGHT + LINE / 2, kind or "connection")
            place += 42 + text_width(kind or "connection", BODY)
        for level, arc in enumerate(arcs):
            colour, dashes = STYLES[kinds.index(arc.kind) % len(STYLES)]
            start, end, above = x + port(arc.source, arc), x + port(arc.target, arc), y + top - LEVEL * (level + 1)
            gid = f"{key}/connection/{arc.kind}/{arc.source}-{arc.target}"
            pen.stepped([(start, y + top), (start, above), (end, above), (end, y + top)], gid, colour, dashes)
        for number, texts in enumerate(lines):
            left, middle = x + starts[number], y + top + height / 2
            item = Item(0, width=widths[number], height=height)
            fill = NODE_FILL if number else INPUT_FILL
            pen.box(left + widths[number] / 2, middle, item, f"{key}/block/{number}", INK, fill)
            for row, text in enumerate(texts):
                colour = INK if row else QUIET
                pen.text(left + 7, y + top + 5 + LINE * (row + 0.5), text, BODY, colour=colour)
            if number:
                ends = [(left - GAP, middle), (left, middle)]
                pen.arrow(ends, f"{key}/line/{number - 1}-{number}", QUIET, 1.0, SOLID)

    right = starts[-1] + widths[-1] if depth else 0.0
    legend = sum(42 + text_width(kind or "connection", BODY) for kind in kinds)
    return Panel(max(right, legend, text_width(title, HEADING, bold=True)), top + height, paint)


def _lines(block: Sequence[AnyChoiceSpec], number: int, architecture: Architecture) -> list[str]:
    """Return the text in a box: its number, and the decisions that are no connections."""
    texts = [f"{BLOCK} {number}"]
    for choice in block:
        shown = {f"{arc.kind}{arc.source}" for arc in connections([choice], number, architecture)}
        decision = architecture.decisions[choice.key]
        if isinstance(choice, InputChoiceSpec):
            names = cast("tuple[str, ...]", decision)
            decision = tuple(name for name in names if name not in shown)
        if not isinstance(choice, CellSpec) and decision != ():
            name = re.split(r"[./]", choice.key)[-1].strip("0123456789_-") or choice.key
            text = decision_text(decision)
            texts.append(shorten(text if name == BLOCK else f"{name} {text}", 24))
    return texts
