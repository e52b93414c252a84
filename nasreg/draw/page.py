"""The page that a picture is painted on: its colours, its pen, its panels, and how it becomes a file."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasreg.draw.layout import Item
from nasreg.draw.text import BODY, FONT, HEADING, short, text_width
from nasreg.errors import ConfigError
from nasreg.runs import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, FAINT = "#222222", "#777777", "#b0b0b0"
MARGIN = 14.0
TOP = 22.0  # of a panel, for its title
MOST_PIXELS = 30_000  # matplotlib's limit is 2 ** 16 a side
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "nasreg"}  # over matplotlib's defaults

# Kind of operation -> how its names start, its colour, its dashes (so that it can be told in black and white).
Dashes = tuple[float, ...]
SOLID: Dashes = ()
KINDS: dict[str, tuple[tuple[str, ...], str, Dashes]] = {
    "skip connection": (("skip", "identity"), "#c8500a", (5, 2)),
    "pooling": (("max_pool", "avg_pool", "pool"), "#1b7f5c", (1.5, 1.5)),
    "separable convolution": (("sep",), "#1f5fa8", SOLID),
    "dilated convolution": (("dil",), "#8a3f8f", (7, 1.5, 1.5, 1.5)),
    "other operation": (("",), "#4d4d4d", SOLID),
}
UNREACHED: tuple[str, Dashes] = (FAINT, (3, 2))


def kind_of(operation: str) -> str:
    """Return the kind of an operation, a key of ``KINDS``."""
    return next(kind for kind, (starts, _, _) in KINDS.items() if operation.startswith(starts))


class Pen:
    """Draws on a page."""

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
        """Write at (x, y), which is the middle of the line's height."""
        self.axes.text(
            x, y, text, size=size, family=FONT, weight="bold" if bold else "normal", color=colour, ha=align,
            va="center" if math else "center_baseline", parse_math=math, zorder=4,
        )  # fmt: skip

    def box(self, x: float, y: float, item: Item, gid: str, edge: str, fill: str, dashes: Dashes = SOLID) -> None:
        """Draw a rounded box of the item's size around (x, y)."""
        from matplotlib.patches import FancyBboxPatch

        corner = (x - item.width / 2, y - item.height / 2)
        self.axes.add_patch(
            FancyBboxPatch(
                corner, item.width, item.height, boxstyle="round,pad=0,rounding_size=3.5", facecolor=fill,
                edgecolor=edge, linewidth=0.9, linestyle=_style(dashes), zorder=3, gid=gid,
            )
        )  # fmt: skip

    def arrow(self, points: Sequence[tuple[float, float]], gid: str, colour: str, width: float, dashes: Dashes) -> None:
        """Draw a line with a head: straight from the first to the second point, curved to the third, and so on."""
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

    def cell(self, x: float, y: float, width: float, height: float, fill: str, gid: str) -> None:
        """Fill a rectangle whose upper left corner is (x, y)."""
        from matplotlib.patches import Rectangle

        self.axes.add_patch(Rectangle((x, y), width, height, facecolor=fill, edgecolor="none", zorder=3, gid=gid))

    def rule(self, x: float, y: float, length: float, colour: str, width: float, dashes: Dashes = SOLID) -> None:
        """Draw a line to the right."""
        self.axes.plot([x, x + length], [y, y], color=colour, linewidth=width, linestyle=_style(dashes))


def _style(dashes: Dashes) -> Any:
    return (0, dashes) if dashes else "solid"


@dataclass
class Panel:
    """A part of the picture, and what paints it with its upper left corner at (x, y)."""

    width: float
    height: float
    paint: Callable[[Pen, float, float], None]


def heading(title: str) -> Panel:
    """Return the heading of a page."""
    title, size = short(title, 90), HEADING + 1.5
    return Panel(text_width(title, size, bold=True), 12, lambda pen, x, y: pen.text(x, y + 6, title, size, bold=True))


def page(panels: Sequence[Panel]) -> Figure:
    """Return the panels, one below the other, as a matplotlib figure that pyplot knows nothing of."""
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
def plain_style() -> Iterator[None]:
    """Be free of whatever style the user has set; within it, another one costs nothing."""
    from matplotlib import rcParams
    from matplotlib.style import context

    if rcParams["svg.hashsalt"] == STYLE["svg.hashsalt"]:
        yield
        return
    with context(["default", STYLE]):
        yield


def save_page(make: Callable[[], Figure], path: str | Path) -> Path:
    """Write a figure into a file; equal figures give equal bytes.

    Args:
        make: Makes the figure, free of whatever style the user has set.
        path: An ``.svg`` (with its text as text) or ``.png`` file.

    Raises:
        ConfigError: The name ends otherwise, or its folder does not exist.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".svg", ".png"):
        raise ConfigError(f"cannot draw {path}: the name must end in .svg or .png")
    if not path.parent.is_dir():
        raise ConfigError(f"cannot draw {path}: there is no folder {path.parent}")
    with plain_style():
        figure = make()
        dpi = min(200.0, MOST_PIXELS / max(figure.get_size_inches()))
        with atomic_write(path) as file:
            metadata = {"Date": None} if suffix == ".svg" else None
            figure.savefig(file, format=suffix[1:], dpi=dpi, metadata=metadata)
    return path


def svg_text(make: Callable[[], Figure]) -> str:
    """Return a figure as SVG, as ``save_page`` writes it."""
    with plain_style():
        file = io.BytesIO()
        make().savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue().decode()
