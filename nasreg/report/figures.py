"""What the report draws itself: curves, weights over epochs, scores of trials. Each is a matplotlib figure.

Sizes are points; colours are those that ``nasreg.report.svg`` gives to the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from nasreg.draw.candidates import EMPTY
from nasreg.draw.page import FAINT, INK, QUIET
from nasreg.draw.text import BODY, FONT, NOTE, short, text_width
from nasreg.report.contents import Mark
from nasreg.report.svg import PAPER, TEST, TRAIN, VALIDATION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = "viridis"
MOST_LABELS = 8


def _axes(width: float, height: float, left: float, right: float, top: float, bottom: float) -> tuple[Figure, Axes]:
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


def _title(figure: Figure, text: str) -> None:
    top = 1 - 8 / (72 * figure.get_size_inches()[1])
    figure.text(
        0, top, short(text, 40), size=BODY + 0.5, family=FONT, weight="bold", color=INK, va="center", parse_math=False
    )


def _whole_numbers(axes: Axes, first: int, last: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(first - 0.5, last + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))


def _legend(figure: Figure) -> None:
    from matplotlib.font_manager import FontProperties

    font = FontProperties(family=FONT, size=BODY)
    figure.legend(
        loc="upper right",
        ncols=2,
        frameon=False,
        labelcolor=INK,
        prop=font,
        borderpad=0,
        borderaxespad=0.2,
        handlelength=2.4,
    )


_CURVES = {"train": (TRAIN, "-"), "validation": (VALIDATION, "--"), "test": (TEST, "-.")}


def curve_figure(
    what: str, epochs: Sequence[int], series: Mapping[str, Sequence[float | None]], marks: Sequence[Mark]
) -> Figure:
    """Return the curves of the parts of the data.

    Args:
        what: ``loss`` or ``accuracy``.
        epochs: Numbers of the epochs.
        series: ``train``, ``validation``, ``test`` -> a value for each epoch; None leaves a gap.
        marks: Where stages or trials start.
    """
    from matplotlib.ticker import PercentFormatter

    figure, axes = _axes(345, 220, left=42, right=8, top=38, bottom=32)
    _title(figure, what)
    for name, values in series.items():
        colour, dashes = _CURVES[name]
        dots = "o" if len(epochs) < 40 else None
        numbers = [float("nan") if value is None else value for value in values]
        axes.plot(epochs, numbers, dashes, color=colour, linewidth=1.5, marker=dots, markersize=3, label=name)
    axes.grid(axis="y", color=FAINT, linewidth=0.3)
    if what == "accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    _whole_numbers(axes, epochs[0], epochs[-1])
    axes.set_xlabel("epoch", size=BODY, color=QUIET, family=FONT)
    for number, mark in enumerate(marks):
        if mark.epoch > epochs[0]:
            axes.axvline(mark.epoch - 0.5, color=QUIET, linewidth=0.7, linestyle=":")
        if len(marks) <= MOST_LABELS:
            end = marks[number + 1].epoch if number + 1 < len(marks) else epochs[-1] + 1
            axes.annotate(
                mark.label, ((mark.epoch + end - 1) / 2, 1), (0, 3), xycoords=("data", "axes fraction"),
                textcoords="offset points", size=NOTE, color=QUIET, ha="center", family=FONT,
            )  # fmt: skip
    _legend(figure)
    return figure


class WeightTable(NamedTuple):
    """The weights of a choice, or of one edge of a cell."""

    title: str
    candidates: Sequence[str]
    """All that there were at the start."""
    chosen: Sequence[str]
    rows: Mapping[int, Mapping[str, float | None]]
    """Epoch -> candidate -> its weight after it; candidates that are no longer there are not."""

    def shares(self) -> Iterator[tuple[int, str, float]]:
        """Yield epoch, candidate, and its weight as a multiple of the mean weight then: 1 where all are equal.

        So a stage with fewer candidates, and larger weights, can be compared with the one before.
        """
        for epoch, row in self.rows.items():
            known = {name: value for name, value in row.items() if value is not None}
            mean = sum(known.values()) / max(len(known), 1)
            yield from ((epoch, name, value / mean) for name, value in known.items() if mean)


def weight_figure(table: WeightTable, marks: Sequence[Mark], least: float, most: float) -> Figure:
    """Return the shares as colours: a row for each candidate, a column for each epoch; what has none is left blank.

    Args:
        table: The weights. Those of the last epoch are written beside.
        marks: Where stages start.
        least: The share of the darkest colour.
        most: The share of the brightest colour.
    """
    import numpy as np

    first, last = min(table.rows), max(table.rows)
    shares = np.full((len(table.candidates), last - first + 1), np.nan)
    places = {name: number for number, name in enumerate(table.candidates)}
    for epoch, name, share in table.shares():
        if name in places:
            shares[places[name], epoch - first] = share
    labels = [short(name, 24) for name in table.candidates]
    left, right, top, bottom = (
        max(76.0, *(text_width(label, BODY, bold=True) for label in labels)) + 8,
        34.0,
        18.0,
        18.0,
    )
    height = top + 12 * len(labels) + bottom
    figure, axes = _axes(left + 170 + right, height, left, right, top, bottom)
    axes.set_facecolor(EMPTY)
    extent = (first - 0.5, last + 0.5, len(labels), 0)
    axes.imshow(shares, COLOURS, aspect="auto", interpolation="none", extent=extent, vmin=least, vmax=most)
    for mark in marks:
        if mark.epoch > first:
            axes.axvline(mark.epoch - 0.5, color=PAPER, linewidth=1.2)
    for side in ("bottom", "left"):
        axes.spines[side].set_visible(False)
    _whole_numbers(axes, first, last)
    axes.set_yticks([])
    for number, name in enumerate(table.candidates):
        weight, is_chosen = table.rows[last].get(name), name in table.chosen
        texts = [(0, -4, "right", labels[number])]
        if weight is not None:
            texts.append((1, 4, "left", f"{weight:.3f}"))
        for x, away, align, text in texts:
            axes.annotate(
                text, (x, number + 0.5), (away, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                ha=align, va="center_baseline", size=BODY, family=FONT, weight="bold" if is_chosen else "normal",
                color=INK if is_chosen else QUIET, parse_math=False,
            )  # fmt: skip
    _title(figure, table.title)
    return figure


def score_figure(scores: Sequence[float]) -> Figure:
    """Return the score of each trial as a dot, and the best so far as a line."""
    import numpy as np
    from matplotlib.ticker import PercentFormatter

    figure, axes = _axes(420, 210, left=46, right=8, top=30, bottom=32)
    _title(figure, "score")
    numbers = range(1, len(scores) + 1)
    axes.plot(numbers, scores, "o", color=TRAIN, markersize=4, label="score of the trial")
    axes.step(
        numbers, np.maximum.accumulate(scores), where="post", color=VALIDATION, linewidth=1.5, label="best so far"
    )
    axes.grid(axis="y", color=FAINT, linewidth=0.3)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    _whole_numbers(axes, 1, len(scores))
    axes.set_xlabel("trial", size=BODY, color=QUIET, family=FONT)
    _legend(figure)
    return figure
