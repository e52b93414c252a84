"""The drawing of a chain of blocks that each choose some of the states before: a row for each, with a mark for each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, cast

from nasreg.report.describe import decision_text
from nasreg.report.drawing.canvas import TITLE_HEIGHT, Panel, Pen
from nasreg.report.drawing.colours import INK, KINDS, QUIET, REMOVED, operation_kind
from nasreg.report.drawing.fonts import BODY, HEADING, NOTE, text_width
from nasreg.specs.architecture import Architecture
from nasreg.specs.formatting import shorten
from nasreg.specs.space import AnyChoiceSpec, CellSpec, InputChoiceSpec, RepeatSpec, SearchSpaceSpec

ROW, COLUMN, GAP = 15.0, 15.0, 12.0

MAX_STATES = 64
"""A chain with more states has a table of its choices instead."""


class Link(NamedTuple):
    """A block of a chain."""

    number: int
    choices: tuple[AnyChoiceSpec, ...]


def chain_blocks(space: SearchSpaceSpec) -> list[Link]:
    """Return the blocks of a chain: choices whose keys end with the same number, some with inputs named by numbers.

    Inputs are the states before: 0 is what the chain reads. A space with cells or stacks has no such blocks, nor
    has a single one.
    """
    blocks: dict[int, list[AnyChoiceSpec]] = {}
    n_states = 0
    for choice in space.choices:
        number = re.search(r"\d+$", choice.key)
        if number is None or isinstance(choice, CellSpec | RepeatSpec):
            return []
        if isinstance(choice, InputChoiceSpec):
            if choice.candidates != tuple(map(str, range(len(choice.candidates)))):
                return []
            n_states = max(n_states, len(choice.candidates))
        blocks.setdefault(int(number[0]), []).append(choice)
    if len(blocks) < 2 or not 1 < n_states <= MAX_STATES:
        return []
    return [Link(number, tuple(blocks[number])) for number in sorted(blocks)]


def chain_panel(blocks: Sequence[Link], architecture: Architecture) -> Panel:
    """Return the panel of a chain.

    The mark of a state has the gid ``KEY/STATE/1`` where it is chosen, else ``KEY/STATE/0``.

    Args:
        blocks: What ``chain_blocks`` returns, which is not empty.
        architecture: The architecture.
    """
    inputs = [[each for each in block.choices if isinstance(each, InputChoiceSpec)] for block in blocks]
    others = [[each for each in block.choices if not isinstance(each, InputChoiceSpec)] for block in blocks]
    decided = [[decision_text(architecture.decisions[each.key]) for each in row] for row in others]
    texts = [shorten(", ".join(row), 40) for row in decided]
    n_states = max(len(each.candidates) for row in inputs for each in row)
    first = max(text_width(str(block.number), BODY) for block in blocks) + GAP
    marks = first + max(text_width(text, BODY) for text in texts) + GAP
    title = f"chain of {len(blocks)} blocks, and the states that each adds"
    width = max(marks + COLUMN * n_states, text_width(title, HEADING, bold=True))

    def paint(pen: Pen, x: float, y: float) -> None:
        pen.text(x, y + 6, title, HEADING, bold=True)
        for state in range(n_states):
            middle = x + marks + COLUMN * (state + 0.5)
            pen.text(middle, y + TITLE_HEIGHT + ROW / 2, str(state), NOTE, colour=QUIET, align="center")
        for row, (block, text) in enumerate(zip(blocks, texts, strict=True), 1):
            top = y + TITLE_HEIGHT + ROW * row
            pen.text(x, top + ROW / 2, str(block.number), BODY, colour=QUIET)
            colour = KINDS[operation_kind(text)][1] if text else INK
            pen.text(x + first, top + ROW / 2, text, BODY, colour=colour)
            for choice in inputs[row - 1]:
                chosen = cast("tuple[str, ...]", architecture.decisions[choice.key])
                for state, name in enumerate(choice.candidates):
                    fill = INK if name in chosen else REMOVED
                    gid = f"{choice.key}/{name}/{int(name in chosen)}"
                    pen.cell(x + marks + COLUMN * state + 1, top + 1, COLUMN - 2, ROW - 2, fill, gid)

    return Panel(width, TITLE_HEIGHT + ROW * (len(blocks) + 1), paint)
