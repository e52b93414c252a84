"""The drawing of a whole network: its modules in order, their outputs, and the distribution of its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nasreg.report.drawing.canvas import Panel, Pen, compose, heading, save_figure
from nasreg.report.drawing.colours import INK, QUIET
from nasreg.report.drawing.fonts import BODY, text_width
from nasreg.specs.formatting import shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nasreg.networks.blocks import Block  # imports torch, which a drawing does not need

ROW, GAP, LONGEST_BAR = 15.0, 12.0, 220.0

SHADES = ("#1f5fa8", "#1b7f5c", "#c8500a", "#8a3f8f", "#4d4d4d")
"""Colours of the blocks by the size of their feature maps, the largest first; further sizes take the last colour."""

BLOCK_HEADER = ("block", "inputs", "output", "parameters")
"""Titles of the columns of ``block_rows``."""


def block_rows(blocks: Sequence[Block]) -> list[tuple[str, ...]]:
    """Return a network as rows of text: name of the block, its inputs, shape of its output, number of parameters."""
    return [
        (block.name, ", ".join(block.inputs), "x".join(map(str, block.shape)), f"{block.parameters:,}")
        for block in blocks
    ]


def draw_network(blocks: Sequence[Block], path: str | Path, *, title: str | None = None) -> Path:
    """Draw a network as a table with a bar for the parameters of each block, coloured by feature-map size.

    Args:
        blocks: The blocks of the network in the order in which they are computed.
        path: An ``.svg`` or ``.png`` file.
        title: Heading of the drawing.

    Returns:
        The path.

    Raises:
        ConfigError: matplotlib is not installed, or the path cannot be used.
    """

    def make() -> Figure:
        return compose([*([heading(title)] if title else []), _table(blocks)])

    return save_figure(make, path)


def _table(blocks: Sequence[Block]) -> Panel:
    rows = [tuple(shorten(cell, 44) for cell in row) for row in block_rows(blocks)]
    widths = [
        max(text_width(cell, BODY, bold=True) for cell in column) for column in zip(BLOCK_HEADER, *rows, strict=True)
    ]
    places = [sum(widths[:number]) + GAP * number for number in range(len(BLOCK_HEADER) + 1)]
    largest = max((block.parameters for block in blocks), default=1) or 1
    sides = list(dict.fromkeys(block.shape[-1] for block in blocks if len(block.shape) == 3))

    def paint(pen: Pen, x: float, y: float) -> None:
        for place, head in zip(places, BLOCK_HEADER, strict=False):
            pen.text(x + place, y + ROW / 2, head, BODY, colour=QUIET)
        for number, (block, row) in enumerate(zip(blocks, rows, strict=True), 1):
            middle = y + ROW * number + ROW / 2
            for place, cell in zip(places, row, strict=False):
                pen.text(x + place, middle, cell, BODY, colour=INK)
            size = sides.index(block.shape[-1]) if len(block.shape) == 3 else len(SHADES)
            length = LONGEST_BAR * block.parameters / largest
            colour = SHADES[min(size, len(SHADES) - 1)]
            pen.cell(x + places[-1], middle - ROW / 2 + 2, length, ROW - 4, colour, f"parameters/{block.name}")

    return Panel(places[-1] + LONGEST_BAR, ROW * (len(blocks) + 1), paint)
