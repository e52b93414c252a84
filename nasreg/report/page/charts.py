"""The charts of the page as matplotlib figures: curves of metrics, weights over epochs, scores of trials, diagnostics.

Sizes are points; the colours are those of ``drawing.colours``, which the page maps to its theme.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from nasreg.report.drawing.chart import (
    chart_axes,
    chart_legend,
    chart_title,
    format_ticks,
    integer_ticks,
    title_with_unit,
)
from nasreg.report.drawing.colours import (
    ARCH,
    FAINT,
    INK,
    KINDS,
    PAPER,
    QUIET,
    REMOVED,
    TEST,
    TRAIN,
    VALIDATION,
)
from nasreg.report.drawing.fonts import BODY, FONT, NOTE, text_width
from nasreg.report.page.contents import Mark
from nasreg.specs.formatting import shorten
from nasreg.specs.metrics import MetricSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOUR_MAP = "viridis"
MAX_LABELS = 8
MAX_EPOCHS_WITH_DOTS = 40
MAX_LARGE_DOTS = 200


_CURVES = {"train": (TRAIN, "-"), "arch": (ARCH, ":"), "validation": (VALIDATION, "--"), "test": (TEST, "-.")}


def curve_figure(
    metric: MetricSpec,
    epochs: Sequence[int],
    series: Mapping[str, Sequence[float | None]],
    marks: Sequence[Mark],
) -> Figure:
    """Return the chart of a metric over the epochs, a curve for each split.

    Args:
        metric: The metric.
        epochs: Numbers of the epochs.
        series: Split, or the name of the metric where it has none, -> a value for each epoch; None leaves a gap.
        marks: Starts of stages.
    """
    figure, axes = chart_axes(345, 220, left=46, right=8, top=38, bottom=32)
    chart_title(figure, title_with_unit(metric))
    for name, values in series.items():
        _plot(axes, epochs, values, marks, name, *_CURVES.get(name, (INK, "-")))
    format_ticks(axes, metric)
    _finish_epochs(axes, epochs, marks)
    chart_legend(figure)
    return figure


_COLOURS = [colour for _, colour, _ in KINDS.values()]
_DIAGNOSTICS = [(_COLOURS[2], "-"), (_COLOURS[0], "--"), (_COLOURS[1], "-."), (_COLOURS[3], ":"), (_COLOURS[4], "-")]


def diagnostics_figure(
    epochs: Sequence[int], series: Mapping[str, Sequence[float | None]], marks: Sequence[Mark]
) -> Figure:
    """Return the chart of some diagnostics over the epochs, five at most.

    Args:
        epochs: Numbers of the epochs.
        series: Name of the diagnostic -> a value for each epoch; None leaves a gap.
        marks: Starts of stages.
    """
    from matplotlib.ticker import MaxNLocator

    top = 14 + 14 * len(series)
    figure, axes = chart_axes(345, 182 + top, left=46, right=8, top=top, bottom=32)
    for (name, values), style in zip(series.items(), _DIAGNOSTICS, strict=False):
        _plot(axes, epochs, values, marks, shorten(name, 44), *style)
    numbers = [value for values in series.values() for value in values if value is not None]
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=all(value == round(value) for value in numbers)))
    _finish_epochs(axes, epochs, marks)
    chart_legend(figure, columns=1)
    return figure


def _plot(
    axes: Axes,
    epochs: Sequence[int],
    values: Sequence[float | None],
    marks: Sequence[Mark],
    label: str,
    colour: str,
    dashes: str,
) -> None:
    """Plot a curve with a gap at each mark, where a stage begins with another model."""
    starts = {mark.epoch for mark in marks}
    x: list[float] = []
    y: list[float] = []
    for epoch, value in zip(epochs, values, strict=True):
        if x and epoch in starts:
            x.append(epoch - 0.5)
            y.append(float("nan"))
        x.append(epoch)
        y.append(float("nan") if value is None else value)
    marker = "o" if len(epochs) < MAX_EPOCHS_WITH_DOTS or 2 * len(starts) > len(epochs) else None
    label = f" {label}" if label.startswith("_") else label  # matplotlib hides labels that start with an underscore
    axes.plot(x, y, dashes, color=colour, linewidth=1.5, marker=marker, markersize=3, label=label)


def _finish_epochs(axes: Axes, epochs: Sequence[int], marks: Sequence[Mark]) -> None:
    """Add grid, ticks and label of the epochs, and the marks with as many labels as there is room for."""
    axes.grid(axis="y", color=FAINT, linewidth=0.3)
    integer_ticks(axes, epochs[0], epochs[-1])
    axes.set_xlabel("epoch", size=BODY, color=QUIET, family=FONT)
    for number, mark in enumerate(marks):
        if mark.epoch > epochs[0]:
            axes.axvline(mark.epoch - 0.5, color=QUIET, linewidth=0.7, linestyle=":")
        if len(marks) <= MAX_LABELS:
            end = marks[number + 1].epoch if number + 1 < len(marks) else epochs[-1] + 1
            axes.annotate(
                mark.label, ((mark.epoch + end - 1) / 2, 1), (0, 3), xycoords=("data", "axes fraction"),
                textcoords="offset points", size=NOTE, color=QUIET, ha="center", family=FONT,
            )  # fmt: skip


class WeightTable(NamedTuple):
    """The weights of the candidates of a choice, or of one edge of a cell."""

    title: str
    candidates: Sequence[str]
    """All candidates of the space."""
    chosen: Sequence[str]
    """The candidates in the architecture found."""
    rows: Mapping[int, Mapping[str, float | None]]
    """Epoch -> candidate -> its weight after the epoch, without the candidates that were removed."""

    def shares(self) -> Iterator[tuple[int, str, float]]:
        """Yield epoch, candidate, and its weight as a multiple of the mean weight then: 1 where all are equal.

        This makes stages comparable: fewer candidates have larger weights.
        """
        for epoch, row in self.rows.items():
            known = {name: value for name, value in row.items() if value is not None}
            mean = sum(known.values()) / max(len(known), 1)
            yield from ((epoch, name, value / mean) for name, value in known.items() if mean)


def weight_figure(table: WeightTable, marks: Sequence[Mark], min_share: float, max_share: float) -> Figure:
    """Return a heat map of the shares: a row for each candidate, a column for each epoch, blank where it was removed.

    Args:
        table: The weights; those of the last epoch are written next to the rows.
        marks: Starts of stages.
        min_share: The share of the darkest colour.
        max_share: The share of the brightest colour.
    """
    import numpy as np

    first, last = min(table.rows), max(table.rows)
    shares = np.full((len(table.candidates), last - first + 1), np.nan)
    places = {name: number for number, name in enumerate(table.candidates)}
    for epoch, name, share in table.shares():
        if name in places:
            shares[places[name], epoch - first] = share
    labels = [shorten(name, 24) for name in table.candidates]
    left, right, top, bottom = (
        max(76.0, *(text_width(label, BODY, bold=True) for label in labels)) + 8,
        34.0,
        18.0,
        18.0,
    )
    height = top + 12 * len(labels) + bottom
    figure, axes = chart_axes(left + 170 + right, height, left, right, top, bottom)
    axes.set_facecolor(REMOVED)
    extent = (first - 0.5, last + 0.5, len(labels), 0)
    axes.imshow(shares, COLOUR_MAP, aspect="auto", interpolation="none", extent=extent, vmin=min_share, vmax=max_share)
    for mark in marks:
        if mark.epoch > first:
            axes.axvline(mark.epoch - 0.5, color=PAPER, linewidth=1.2)
    for side in ("bottom", "left"):
        axes.spines[side].set_visible(False)
    integer_ticks(axes, first, last)
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
    chart_title(figure, table.title)
    return figure


class ScoreDots(NamedTuple):
    """What the chart of the scores shows: all trials, or a selection where there are too many."""

    scores: Sequence[tuple[int, float]]
    """Id and score of trials, by id."""
    best: Sequence[tuple[int, float]]
    """Those of them that were the best so far."""
    failed: Sequence[int]
    """Ids of trials that failed."""
    last: int
    """The last id of all."""


def score_figure(dots: ScoreDots, metric: MetricSpec) -> Figure:
    """Return the chart of the scores: a dot for each trial, a cross for each that failed, a line for the best so far.

    Args:
        dots: The trials; at least one has a score.
        metric: The metric of the scores.
    """
    figure, axes = chart_axes(420, 210, left=54, right=8, top=30, bottom=32)
    chart_title(figure, title_with_unit(metric))
    size = 4 if len(dots.scores) <= MAX_LARGE_DOTS else 2
    numbers, values = zip(*dots.scores, strict=True)
    axes.plot(numbers, values, "o", color=TRAIN, markersize=size, markeredgewidth=0, label="trial")
    steps, best = zip(*dots.best, (dots.last, dots.best[-1][1]), strict=True)
    axes.step(steps, best, where="post", color=VALIDATION, linewidth=1.5, label="best so far")
    if dots.failed:
        axes.plot(
            dots.failed, [0] * len(dots.failed), "x", color=QUIET, markersize=size, label="failed",
            transform=axes.get_xaxis_transform(), clip_on=False, zorder=3,
        )  # fmt: skip
    axes.grid(axis="y", color=FAINT, linewidth=0.3)
    format_ticks(axes, metric)
    integer_ticks(axes, 1, dots.last)
    axes.set_xlabel("trial", size=BODY, color=QUIET, family=FONT)
    chart_legend(figure, columns=3)
    return figure
