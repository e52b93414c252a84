"""The picture of a whole network: its parts in order, what each gives, and where the weights are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nasreg.draw.page import INK, QUIET, Panel, Pen, heading, page, save_page
from nasreg.draw.text import BODY, short, text_width

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROW, GAP, LONGEST_BAR = 15.0, 12.0, 220.0

SHADES = ("#1f5fa8", "#1b7f5c", "#c8500a", "#8a3f8f", "#4d4d4d")
"""Colours of the parts by size of what they give, the largest first; further sizes take the last."""


class Block(NamedTuple):
    """A part of a network."""

    name: str
    takes: tuple[str, ...]
    """Names of the parts whose output it takes; ``images`` is the input."""
    shape: tuple[int, ...]
    """What it gives for one image, such as ``(C, H, W)``."""
    parameters: int


def block_rows(blocks: Sequence[Block]) -> list[tuple[str, ...]]:
    """Return the network as rows of text: part, what it takes, what it gives, its weights."""
    return [
        (block.name, ", ".join(block.takes), "x".join(map(str, block.shape)), f"{block.parameters:,}")
        for block in blocks
    ]


def draw_network(blocks: Sequence[Block], path: str | Path, *, title: str | None = None) -> Path:
    """Draw a network as a table with a bar for the weights of each part, coloured by the size of its feature maps.

    Args:
        blocks: Its parts, in the order in which they are computed.
        path: An ``.svg`` or ``.png`` file.
        title: Heading of the picture.

    Raises:
        ConfigError: The name ends otherwise, or its folder does not exist.
    """

    def make() -> Figure:
        return page([*([heading(title)] if title else []), _table(blocks)])

    return save_page(make, path)


def _table(blocks: Sequence[Block]) -> Panel:
    heads = ("part", "takes", "gives", "weights")
    rows = [tuple(short(cell, 44) for cell in row) for row in block_rows(blocks)]
    widths = [max(text_width(cell, BODY, bold=True) for cell in column) for column in zip(heads, *rows, strict=True)]
    places = [sum(widths[:number]) + GAP * number for number in range(len(heads) + 1)]
    most = max((block.parameters for block in blocks), default=1) or 1
    sides = list(dict.fromkeys(block.shape[-1] for block in blocks if len(block.shape) == 3))

    def paint(pen: Pen, x: float, y: float) -> None:
        for place, head in zip(places, heads, strict=False):
            pen.text(x + place, y + ROW / 2, head, BODY, colour=QUIET)
        for number, (block, row) in enumerate(zip(blocks, rows, strict=True), 1):
            middle = y + ROW * number + ROW / 2
            for place, cell in zip(places, row, strict=False):
                pen.text(x + place, middle, cell, BODY, colour=INK)
            size = sides.index(block.shape[-1]) if len(block.shape) == 3 else len(SHADES)
            length = LONGEST_BAR * block.parameters / most
            colour = SHADES[min(size, len(SHADES) - 1)]
            pen.cell(x + places[-1], middle - ROW / 2 + 2, length, ROW - 4, colour, f"weights/{block.name}")

    return Panel(places[-1] + LONGEST_BAR, ROW * (len(blocks) + 1), paint)
