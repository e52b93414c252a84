"""The canvas that drawings are made on: a pen, panels one below the other, and how a figure becomes a file."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasreg.errors import ConfigError
from nasreg.report.drawing.colours import INK, SOLID, Dashes
from nasreg.report.drawing.fonts import BODY, FONT, HEADING, text_width
from nasreg.report.drawing.layout import Item
from nasreg.report.packages import require_drawing_packages
from nasreg.runs.writing import atomic_write
from nasreg.specs.formatting import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARGIN = 14.0
TITLE_HEIGHT = 22.0
"""Room for the title at the top of a panel."""

MAX_PIXELS = 30_000
"""Largest side of a PNG; matplotlib's limit is 2 ** 16."""

_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "nasreg"}  # over matplotlib's defaults


class Pen:
    """Draws shapes and text on a canvas; coordinates are points, y grows downwards."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = BODY,
        *,
        colour: str = INK,
        bold: bool = False,
        math: bool = False,
        align: str = "left",
    ) -> None:
        """Write a line of text, vertically centred at y."""
        self.axes.text(
            x, y, text, size=size, family=FONT, weight="bold" if bold else "normal", color=colour, ha=align,
            va="center" if math else "center_baseline", parse_math=math, zorder=4,
        )  # fmt: skip

    def box(self, x: float, y: float, item: Item, gid: str, edge: str, fill: str, dashes: Dashes = SOLID) -> None:
        """Draw a rounded box of the item's size, centred at (x, y)."""
        from matplotlib.patches import FancyBboxPatch

        corner = (x - item.width / 2, y - item.height / 2)
        self.axes.add_patch(
            FancyBboxPatch(
                corner, item.width, item.height, boxstyle="round,pad=0,rounding_size=3.5", facecolor=fill,
                edgecolor=edge, linewidth=0.9, linestyle=_style(dashes), zorder=3, gid=gid,
            )
        )  # fmt: skip

    def arrow(self, points: Sequence[tuple[float, float]], gid: str, colour: str, width: float, dashes: Dashes) -> None:
        """Draw an arrow through points: straight from the first to the second, curved to the third, and so on."""
        from matplotlib.patches import PathPatch, Polygon
        from matplotlib.path import Path as Curve

        x, y = points[-1]
        way, codes = [points[0]], [Curve.MOVETO]
        for number, (one, other) in enumerate(pairwise([*points[:-1], (x - 4, y)])):
            middle = (one[0] + other[0]) / 2
            way += [(middle, one[1]), (middle, other[1]), other] if number % 2 else [other]
            codes += [Curve.CURVE4] * 3 if number % 2 else [Curve.LINETO]
        style = _style(dashes)
        line = PathPatch(Curve(way, codes), fill=False, color=colour, linewidth=width, linestyle=style, gid=gid)
        self.axes.add_patch(line)
        self.axes.add_patch(Polygon([(x, y), (x - 5.5, y - 2.6), (x - 5.5, y + 2.6)], facecolor=colour, zorder=2))

    def stepped(self, points: Sequence[tuple[float, float]], gid: str, colour: str, dashes: Dashes) -> None:
        """Draw an arrow of straight lines through points, the last of which leads down."""
        from matplotlib.patches import PathPatch, Polygon
        from matplotlib.path import Path as Curve

        x, y = points[-1]
        way = Curve([*points[:-1], (x, y - 4)])
        style = _style(dashes)
        self.axes.add_patch(PathPatch(way, fill=False, color=colour, linewidth=1.2, linestyle=style, gid=gid))
        self.axes.add_patch(Polygon([(x, y), (x - 2.6, y - 5.5), (x + 2.6, y - 5.5)], facecolor=colour, zorder=2))

    def cell(self, x: float, y: float, width: float, height: float, fill: str, gid: str) -> None:
        """Fill a rectangle whose upper left corner is (x, y)."""
        from matplotlib.patches import Rectangle

        self.axes.add_patch(Rectangle((x, y), width, height, facecolor=fill, edgecolor="none", zorder=3, gid=gid))

    def rule(self, x: float, y: float, length: float, colour: str, width: float, dashes: Dashes = SOLID) -> None:
        """Draw a horizontal line to the right of (x, y)."""
        self.axes.plot([x, x + length], [y, y], color=colour, linewidth=width, linestyle=_style(dashes))


def _style(dashes: Dashes) -> Any:
    return (0, dashes) if dashes else "solid"


@dataclass
class Panel:
    """A part of a drawing: its size, and the function that paints it with its upper left corner at (x, y)."""

    width: float
    height: float
    paint: Callable[[Pen, float, float], None]


def heading(title: str) -> Panel:
    """Return the heading of a drawing."""
    title, size = shorten(title, 90), HEADING + 1.5
    return Panel(text_width(title, size, bold=True), 12, lambda pen, x, y: pen.text(x, y + 6, title, size, bold=True))


def compose(panels: Sequence[Panel]) -> Figure:
    """Return panels, one below the other, as a matplotlib figure that pyplot does not manage."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width = max(panel.width for panel in panels) + 2 * MARGIN
    height = sum(panel.height for panel in panels) + MARGIN * (len(panels) + 1)
    figure = Figure(figsize=(width / 72, height / 72), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    y = MARGIN
    for panel in panels:
        panel.paint(Pen(axes), MARGIN, y)
        y += panel.height + MARGIN
    return figure


@contextmanager
def default_style() -> Iterator[None]:
    """Set matplotlib's default style in place of the user's; nested use costs nothing."""
    from matplotlib import rcParams
    from matplotlib.style import context

    if rcParams["svg.hashsalt"] == _STYLE["svg.hashsalt"]:
        yield
        return
    with context(["default", _STYLE]):
        yield


def save_figure(make: Callable[[], Figure], path: str | Path) -> Path:
    """Write a figure to a file; equal figures give equal bytes.

    Args:
        make: Makes the figure; called under matplotlib's default style.
        path: An ``.svg`` (with its text as text) or ``.png`` file.

    Returns:
        The path.

    Raises:
        ConfigError: matplotlib is not installed, the suffix is another, the folder does not exist, or the file cannot
            be written.
    """
    require_drawing_packages()
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".svg", ".png"):
        raise ConfigError(f"cannot draw {path}: the name must end in .svg or .png")
    if not path.parent.is_dir():
        raise ConfigError(f"cannot draw {path}: there is no folder {path.parent}")
    with default_style():
        figure = make()
        dpi = min(200.0, MAX_PIXELS / max(figure.get_size_inches()))
        metadata = {"Date": None} if suffix == ".svg" else None
        try:
            with atomic_write(path) as file:
                figure.savefig(file, format=suffix[1:], dpi=dpi, metadata=metadata)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def figure_svg(make: Callable[[], Figure]) -> str:
    """Return a figure as the text of an SVG file, the same that ``save_figure`` writes.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    require_drawing_packages()
    with default_style():
        file = io.BytesIO()
        make().savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue().decode()
