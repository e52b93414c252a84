"""The common parts of charts: axes, title, ticks, legend. Sizes are points."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasreg.report.drawing.colours import FAINT, INK, QUIET
from nasreg.report.drawing.fonts import BODY, FONT
from nasreg.specs.formatting import shorten
from nasreg.specs.metrics import MetricSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def chart_axes(
    width: float, height: float, left: float, right: float, top: float, bottom: float
) -> tuple[Figure, Axes]:
    """Return a figure of a size in points, and axes with these margins in it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, height / 72), facecolor="none")
    place = (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    axes = figure.add_axes(place, facecolor="none")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set_color(FAINT)
    axes.tick_params(colors=QUIET, labelcolor=QUIET, labelsize=BODY, length=3, width=0.8, labelfontfamily=FONT)
    return figure, axes


def chart_title(figure: Figure, text: str) -> None:
    """Write the title of a chart above its upper left corner."""
    top = 1 - 8 / (72 * figure.get_size_inches()[1])
    figure.text(
        0, top, shorten(text, 40), size=BODY + 0.5, family=FONT, weight="bold", color=INK, va="center", parse_math=False
    )


def integer_ticks(axes: Axes, first: int, last: int) -> None:
    """Label a horizontal axis of whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(first - 0.5, last + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))


def chart_legend(figure: Figure, columns: int = 2) -> None:
    """Write the legend into the upper right corner, beside the title."""
    from matplotlib.font_manager import FontProperties

    font = FontProperties(family=FONT, size=BODY)
    legend = figure.legend(
        loc="upper right",
        ncols=columns,
        frameon=False,
        labelcolor=INK,
        prop=font,
        borderpad=0,
        borderaxespad=0.2,
        handlelength=2.4,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def format_ticks(axes: Axes, metric: MetricSpec) -> None:
    """Print the values of an axis in the unit of a metric."""
    if metric.unit == "%":
        from matplotlib.ticker import PercentFormatter

        axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def title_with_unit(metric: MetricSpec) -> str:
    """Return the title of a metric, with its unit where the ticks do not show it."""
    return metric.title if metric.unit in ("", "%") else f"{metric.title} ({metric.unit})"
