"""The chart of a Pareto front: a panel for each cost, with the score over it, and the picture that a search writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nasreg.errors import RunDirectoryError
from nasreg.report.drawing.canvas import save_figure
from nasreg.report.drawing.chart import chart_axes, chart_legend, chart_title, format_ticks, title_with_unit
from nasreg.report.drawing.colours import FAINT, QUIET, TRAIN, VALIDATION
from nasreg.report.drawing.fonts import BODY, FONT
from nasreg.runs import files
from nasreg.runs.directory import RunDirectory
from nasreg.runs.trial_summary import TrialSummary, summarize_trials
from nasreg.specs.formatting import plural
from nasreg.specs.metrics import MetricSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_DOTS = 2000
"""Trials beside the front that a chart shows."""


class FrontPoints(NamedTuple):
    """The scores of trials and their values of one other objective."""

    trials: Sequence[tuple[float, float]]
    """Value and score of trials, all or a selection."""
    front: Sequence[tuple[float, float]]
    """Those of the trials on the front."""


def front_points(trials: TrialSummary, number: int) -> FrontPoints:
    """Return what the chart of other objective ``number`` shows; where trials are too many, every n-th of them."""
    step = -(-len(trials.points) // MAX_DOTS) or 1
    dots = [(point[1 + number], point[0]) for point in trials.points[::step]]
    name = trials.objectives[number].name
    return FrontPoints(dots, sorted((record["metrics"][name], record["score"]) for record in trials.front))


def front_figure(points: FrontPoints, score: MetricSpec, cost: MetricSpec, *, is_only: bool) -> Figure:
    """Return the chart: a dot for each trial, and the front.

    Args:
        points: The trials; at least one.
        score: The metric of the scores.
        cost: The other objective.
        is_only: Whether there is no further one, so that the front is a line of steps.
    """
    from matplotlib.ticker import EngFormatter, MaxNLocator

    figure, axes = chart_axes(420, 240, left=54, right=10, top=30, bottom=36)
    chart_title(figure, title_with_unit(score))
    low, high = _limits([value for _, value in points.front], score)
    shown = [point for point in points.trials if low <= point[1] <= high]
    left_out = len(points.trials) - len(shown)
    x, y = [point[0] for point in shown], [point[1] for point in shown]
    axes.plot(x, y, "o", color=TRAIN, markersize=2.5, markeredgewidth=0, alpha=0.5, label="trial")
    x, y = [point[0] for point in points.front], [point[1] for point in points.front]
    if is_only:
        # between two members the best that is known is the one that costs less
        axes.step(x, y, where="pre" if cost.higher_is_better else "post", color=VALIDATION, linewidth=1.2)
    axes.plot(x, y, "o", color=VALIDATION, markersize=4.5, markeredgewidth=0, label="Pareto front", zorder=3)
    axes.grid(color=FAINT, linewidth=0.3)
    format_ticks(axes, score)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    note = f" ({plural(left_out, 'worse trial')} not shown)" if left_out else ""
    axes.set_xlabel(f"{title_with_unit(cost)}{note}", size=BODY, color=QUIET, family=FONT)
    chart_legend(figure, columns=2)
    return figure


def _limits(front: Sequence[float], score: MetricSpec) -> tuple[float, float]:
    """Return the scores that the chart shows: those not much worse than the front, whose differences are small."""
    margin = max(front) - min(front)
    if not margin:
        return float("-inf"), float("inf")
    return (min(front) - margin, float("inf")) if score.higher_is_better else (float("-inf"), max(front) + margin)


def draw_front(run: RunDirectory, path: str | Path) -> Path:
    """Draw the Pareto front of a search with several objectives; the first other objective is the horizontal axis.

    Args:
        run: The run directory of the search.
        path: An ``.svg`` or ``.png`` file.

    Returns:
        The path.

    Raises:
        ConfigError: matplotlib is not installed, or the path cannot be used.
        RunDirectoryError: The search has one objective, or no trial with a score.
    """
    objective, objectives = run.objective, run.objectives
    if objective is None or not objectives:
        raise RunDirectoryError(f"{run.path} has no Pareto front: its search has one objective")
    trials = summarize_trials(run.path / files.TRIALS, objective, 1, objectives)
    if not trials.front:
        raise RunDirectoryError(f"{run.path} has no Pareto front: no trial has a value of each objective")
    is_only = len(objectives) == 1
    return save_figure(lambda: front_figure(front_points(trials, 0), objective, objectives[0], is_only=is_only), path)
