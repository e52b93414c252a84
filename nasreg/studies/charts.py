"""The charts of a comparison as matplotlib figures.

An algorithm has the same colour, dashes and mark in all of them, so that they can be told apart in black and white.
Sizes are points; the colours are those of ``drawing.colours``, which the page maps to its theme.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nasreg.report.drawing.chart import chart_axes, chart_title, format_ticks, title_with_unit
from nasreg.report.drawing.colours import FAINT, INK, QUIET, SERIES
from nasreg.report.drawing.fonts import BODY, FONT, NOTE, text_width
from nasreg.specs.formatting import shorten
from nasreg.specs.metrics import MetricSpec
from nasreg.studies.judging import Ranking
from nasreg.studies.statistics import Array, Curve, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 345.0
LEGEND_ROW = 13.0
MAX_NAME = 34


class Style(NamedTuple):
    """How an algorithm is drawn."""

    colour: str
    dashes: Any
    """The style of its lines, as matplotlib takes it."""
    marker: str


_DASHES: tuple[Any, ...] = (
    *("-", "--", "-.", ":"),
    *((0, (6, 1.5, 1, 1.5, 1, 1.5)), (0, (8, 3)), (0, (3, 1)), (0, (1, 2))),
)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def styles(labels: Sequence[str]) -> dict[str, Style]:
    """Return the style of each algorithm, in the order in which they were given."""
    found = {}
    for number, label in enumerate(labels):
        turn, place = divmod(number, len(SERIES))
        found[label] = Style(SERIES[place], _DASHES[(place + turn) % len(_DASHES)], _MARKERS[(place + turn) % 8])
    return found


def curve_figure(
    title: str,
    metric: MetricSpec,
    curves: Mapping[str, Curve],
    how: Mapping[str, Style],
    *,
    seconds: bool = False,
    optimum: float | None = None,
) -> Figure:
    """Return the chart of the best so far over the budget: a mean over the seeds with its interval for each algorithm.

    Args:
        title: Heading of the chart.
        metric: The metric of the values.
        curves: The curves.
        how: The style of each.
        seconds: Whether the budget is a time; it is a number of evaluations otherwise.
        optimum: The best value that there is, drawn as a line where it is near.
    """
    figure, axes = _chart(title, list(curves), how, height=190)
    for label, curve in curves.items():
        style = how[label]
        axes.fill_between(curve.x, curve.low, curve.high, color=style.colour, alpha=0.18, linewidth=0)
        axes.plot(curve.x, curve.mean, color=style.colour, linestyle=style.dashes, linewidth=1.5)
    last = max(curve.x[-1] for curve in curves.values())
    first = min(curve.x[0] for curve in curves.values())
    if last > 20 * max(first, 1e-9) and len(curves) and last > 20:
        axes.set_xscale("log")
        _log_ticks(axes, first, last)
    _focus(axes, curves, metric, optimum)
    axes.grid(axis="y", color=FAINT, linewidth=0.3)
    format_ticks(axes, metric)
    if seconds:
        _time_axis(axes, last)
    else:
        _count_axis(axes)
    return figure


def _chart(title: str, labels: Sequence[str], how: Mapping[str, Style], height: float) -> tuple[Figure, Axes]:
    """Return figure and axes below a title and a legend, which has as many rows as it needs."""
    rows = _legend_rows(labels)
    top = 20 + LEGEND_ROW * len(rows) + 6
    figure, axes = chart_axes(WIDTH, height + top, left=52, right=10, top=top, bottom=32)
    chart_title(figure, title)
    total = height + top
    for number, row in enumerate(rows):
        x, y = 0.0, 1 - (20 + LEGEND_ROW * (number + 0.5)) / total
        for label in row:
            style = how[label]
            from matplotlib.lines import Line2D

            figure.add_artist(
                Line2D([x / WIDTH, (x + 20) / WIDTH], [y, y], color=style.colour, linestyle=style.dashes, linewidth=1.5)
            )
            figure.text(
                (x + 24) / WIDTH, y, label, size=BODY, family=FONT, color=INK, va="center_baseline", parse_math=False
            )
            x += 24 + text_width(label, BODY) + 12
    return figure, axes


def _legend_rows(labels: Sequence[str]) -> list[list[str]]:
    rows: list[list[str]] = [[]]
    used = 0.0
    for label in labels:
        width = 36 + text_width(label, BODY)
        if rows[-1] and used + width > WIDTH:
            rows.append([])
            used = 0.0
        rows[-1].append(label)
        used += width
    return rows


def _focus(axes: Axes, curves: Mapping[str, Curve], metric: MetricSpec, optimum: float | None) -> None:
    """Show the range that matters: from what half of the budget has reached on, not the first random architectures."""
    worst_side = np.concatenate([curve.low if metric.higher_is_better else curve.high for curve in curves.values()])
    best_side = np.concatenate([curve.high if metric.higher_is_better else curve.low for curve in curves.values()])
    share = np.quantile(worst_side, 0.03 if metric.higher_is_better else 0.97)
    best = float(best_side.max() if metric.higher_is_better else best_side.min())
    span = abs(best - float(share)) or (0.02 if metric.unit == "%" else abs(best) * 0.1 or 1.0)
    if optimum is not None and abs(optimum - best) < span:
        axes.axhline(optimum, color=QUIET, linewidth=0.8, linestyle=":")
        axes.annotate(
            "optimum", (0, optimum), (3, 2), xycoords=("axes fraction", "data"), textcoords="offset points", size=NOTE,
            color=QUIET, family=FONT,
        )  # fmt: skip
        best = optimum
    low, high = sorted((float(share), best))
    axes.set_ylim(low - 0.06 * span, high + 0.10 * span)


def _log_ticks(axes: Axes, first: float, last: float) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    ticks = [m * 10**e for e in range(-3, 13) for m in (1, 3) if first * 0.999 <= m * 10**e <= last * 1.001]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _count_axis(axes: Axes) -> None:
    if axes.get_xscale() != "log":
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.set_xlabel("evaluations", size=BODY, color=QUIET, family=FONT)


def _time_axis(axes: Axes, last: float) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

    unit, size = next(
        (u, s) for u, s in (("days", 86400), ("h", 3600), ("min", 60), ("s", 1)) if last >= 3 * s or s == 1
    )
    if axes.get_xscale() == "log":
        low, high = axes.get_xlim()
        ticks = [m * 10**e * size for e in range(-4, 9) for m in (1, 3) if low <= m * 10**e * size <= high]
        axes.xaxis.set_major_locator(FixedLocator(ticks))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / size:,.3g}"))
    axes.set_xlabel(f"time ({unit})", size=BODY, color=QUIET, family=FONT)


def score_figure(
    title: str,
    metric: MetricSpec,
    scores: Mapping[str, Sequence[float]],
    summaries: Mapping[str, Summary],
    how: Mapping[str, Style],
) -> Figure:
    """Return the chart of all scores: a row for each algorithm, a point for each run, the mean with its interval.

    Args:
        title: Heading of the chart.
        metric: The metric of the scores.
        scores: Scores of each algorithm.
        summaries: Their summaries.
        how: The style of each.
    """
    names = {label: shorten(label, MAX_NAME) for label in scores}
    left = min(150.0, max(text_width(name, BODY) for name in names.values()) + 10)
    row, top, bottom = 26.0, 26.0, 34.0
    figure, axes = chart_axes(WIDTH, top + row * len(scores) + bottom, left, 12, top, bottom)
    chart_title(figure, title)
    for place, (label, values) in enumerate(scores.items()):
        style, summary = how[label], summaries[label]
        x = np.asarray(values, dtype=np.float64)
        axes.plot(
            x, place + _spread(x), style.marker, color=style.colour, alpha=0.55, markersize=3.2 if len(x) < 60 else 2.4,
            markeredgewidth=0,
        )  # fmt: skip
        if summary.interval is not None:
            axes.plot(summary.interval, [place, place], color=INK, linewidth=1.6, solid_capstyle="butt", zorder=4)
        axes.plot([summary.mean], [place], "|", color=INK, markersize=11, markeredgewidth=1.8, zorder=5)
    axes.set_ylim(len(scores) - 0.5, -0.5)
    axes.set_yticks(range(len(scores)), [names[label] for label in scores], family=FONT)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=FAINT, linewidth=0.3)
    if metric.unit == "%":
        from matplotlib.ticker import PercentFormatter

        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.set_xlabel(shorten(title_with_unit(metric), 60), size=BODY, color=QUIET, family=FONT)
    for text in axes.get_yticklabels():
        text.set_parse_math(False)
    return figure


def _spread(values: Array) -> Array:
    """Return how far points are moved up or down so that equal ones can be told apart; the same each time."""
    if len(values) == 1:
        return np.zeros(1)
    order = np.argsort(values, kind="stable")
    found = np.zeros(len(values))
    golden = (math.sqrt(5) - 1) / 2
    found[order] = (np.arange(len(values)) * golden) % 1 - 0.5
    return 0.62 * found


def rank_figure(title: str, x: Array, ranks: Mapping[str, Array], how: Mapping[str, Style]) -> Figure:
    """Return the chart of the mean ranks over the evaluations, 1 for the best at the top.

    Args:
        title: Heading of the chart.
        x: Numbers of evaluations.
        ranks: The mean ranks of each algorithm.
        how: The style of each.
    """
    figure, axes = _chart(title, list(ranks), how, height=150)
    for label, values in ranks.items():
        axes.plot(x, values, color=how[label].colour, linestyle=how[label].dashes, linewidth=1.5)
    if x[-1] > 20 * x[0]:
        axes.set_xscale("log")
        _log_ticks(axes, x[0], x[-1])
    axes.set_ylim(len(ranks) + 0.1, 0.9)
    axes.grid(axis="y", color=FAINT, linewidth=0.3)
    _count_axis(axes)
    return figure


def critical_difference_figure(title: str, ranking: Ranking, how: Mapping[str, Style]) -> Figure:
    """Return the diagram of Demsar (2006): mean ranks on a line, and bars over algorithms that do not differ.

    Args:
        title: Heading of the chart.
        ranking: The ranking.
        how: The style of each algorithm.
    """
    from matplotlib.figure import Figure

    width = 400.0
    k = len(ranking.labels)
    cliques = ranking.cliques()
    names = [
        f"{shorten(label, 24)}  {mean:.2f}" for label, mean in zip(ranking.labels, ranking.mean_ranks, strict=True)
    ]
    half = (k + 1) // 2
    top, step, bar = 62.0, 15.0, 7.0
    below = 8 + bar * len(cliques) + 8
    height = top + below + step * half + 6
    figure = Figure(figsize=(width / 72, height / 72), facecolor="none")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    chart_title(figure, title)
    margin = min(130.0, max(text_width(name, BODY) for name in names) + 10)

    def at(value: float) -> float:
        return margin + (value - 1) / max(k - 1, 1) * (width - 2 * margin)

    def text(x: float, y: float, what: str, colour: str = INK, align: str = "left", size: float = BODY) -> None:
        axes.text(x, y, what, size=size, family=FONT, color=colour, ha=align, va="center_baseline", parse_math=False)

    axes.plot([at(1), at(k)], [top, top], color=QUIET, linewidth=1)
    for value in range(1, k + 1):
        axes.plot([at(value)] * 2, [top - 4, top], color=QUIET, linewidth=1)
        text(at(value), top - 10, str(value), QUIET, "center")
    length = min(ranking.critical_difference, k - 1) / max(k - 1, 1) * (width - 2 * margin)
    cut = ranking.critical_difference > k - 1
    axes.plot([margin, margin + length], [32, 32], color=INK, linewidth=1.4)
    for x in (margin, *([] if cut else [margin + length])):
        axes.plot([x, x], [29, 35], color=INK, linewidth=1.4)
    text(margin + length + 5, 32, f"CD {ranking.critical_difference:.2f}", QUIET, size=NOTE)
    for number, (first, last) in enumerate(cliques):
        y = top + 8 + bar * number
        ends = [at(ranking.mean_ranks[first]) - 3, at(ranking.mean_ranks[last]) + 3]
        axes.plot(ends, [y, y], color=INK, linewidth=2.6, solid_capstyle="round")
    for place, (label, name, mean) in enumerate(zip(ranking.labels, names, ranking.mean_ranks, strict=True)):
        to_left = place < half
        y = top + below + step * (place if to_left else k - 1 - place) + 4
        x, colour = at(mean), how[label].colour
        end = 2.0 if to_left else width - 2.0
        length = text_width(name, BODY)
        near = min(end + length + 3, x) if to_left else max(end - length - 3, x)
        axes.plot([x, x, near], [top, y, y], color=colour, linewidth=1.0)
        axes.plot([x], [top], how[label].marker, color=colour, markersize=4.5, markeredgewidth=0, zorder=4)
        text(end, y, name, align="left" if to_left else "right")
    return figure
