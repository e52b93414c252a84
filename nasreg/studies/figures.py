"""Which charts a group of runs has, and what they show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from nasreg.errors import ConfigError
from nasreg.report.drawing.canvas import default_style
from nasreg.report.packages import require_drawing_packages
from nasreg.studies import charts
from nasreg.studies.judging import Ranking
from nasreg.studies.protocol import Group
from nasreg.studies.statistics import Curve, curves, rank_curves, summaries

if TYPE_CHECKING:
    from matplotlib.figure import Figure


ChartName = Literal["evaluations", "seconds", "scores", "ranks", "critical-difference"]


class Chart(NamedTuple):
    """A chart that can be drawn."""

    name: ChartName
    description: str
    """What it shows, for screen readers."""
    make: Callable[[], Figure]


def group_charts(group: Group, how: dict[str, charts.Style], ranking: Ranking | None) -> list[Chart]:
    """Return the charts of a group, those that have something to show.

    Args:
        group: The runs.
        how: The style of each algorithm.
        ranking: The ranking over seeds, if there are enough.
    """
    if not group.done:
        return []
    metric = group.objective
    found = []
    optimum = next((value for run in group.done if (value := run.fact("optimum")) is not None), None)
    known = curves(group, "evaluations")
    if known:
        last = "; ".join(f"{label} {metric.format(float(curve.mean[-1]))}" for label, curve in known.items())
        found.append(
            Chart(
                "evaluations",
                f"mean of the best {metric.title} so far over evaluations; at the end {last}",
                lambda: charts.curve_figure("Best so far over evaluations", metric, known, how, optimum=optimum),
            )
        )
    for simulated, title in ((True, "simulated time"), (False, "measured time")):
        timed = curves(group, "seconds", simulated=simulated)
        if timed:
            found.append(_time_chart(group, how, timed, title, optimum))
    values = {
        label: [run.score for run in runs if run.score is not None]
        for label in group.labels
        if (runs := group.of(label))
    }
    described = "; ".join(f"{label} {len(each)}" for label, each in values.items())
    found.append(
        Chart(
            "scores",
            f"{metric.title} of every run, with the mean of each algorithm and its interval; runs: {described}",
            lambda: charts.score_figure("Every run", metric, values, summaries(group), how),
        )
    )
    x, ranks = rank_curves(group)
    if ranks and len(ranks) > 1:
        last = "; ".join(f"{label} {float(each[-1]):.2f}" for label, each in ranks.items())
        found.append(
            Chart(
                "ranks",
                f"mean rank over evaluations, 1 is the best; at the end {last}",
                lambda: charts.rank_figure("Mean rank (1 is the best)", x, ranks, how),
            )
        )
    if ranking is not None:
        found.append(ranking_chart(ranking, how))
    return found


def _time_chart(
    group: Group, how: dict[str, charts.Style], timed: Mapping[str, Curve], title: str, optimum: float | None
) -> Chart:
    metric = group.objective
    last = "; ".join(f"{label} {metric.format(float(curve.mean[-1]))}" for label, curve in timed.items())
    return Chart(
        "seconds",
        f"mean of the best {metric.title} so far over {title}; at the end {last}",
        lambda: charts.curve_figure(f"Best so far over {title}", metric, timed, how, seconds=True, optimum=optimum),
    )


def ranking_chart(ranking: Ranking, how: dict[str, charts.Style]) -> Chart:
    """Return the critical-difference diagram."""
    means = "; ".join(f"{label} {mean:.2f}" for label, mean in zip(ranking.labels, ranking.mean_ranks, strict=True))
    return Chart(
        "critical-difference",
        f"critical-difference diagram over {ranking.n} {ranking.blocks}, CD {ranking.critical_difference:.2f};"
        f" mean ranks: {means}",
        lambda: charts.critical_difference_figure("Mean ranks and critical difference", ranking, how),
    )


def all_labels(groups: Sequence[Group]) -> list[str]:
    """Return the algorithms of all groups, each once."""
    return list(dict.fromkeys(label for group in groups for label in group.labels))


def chart_of(groups: Sequence[Group], name: ChartName, group: Group, ranking: Ranking | None) -> Figure:
    """Return a chart of a group as a figure.

    Args:
        groups: All groups, by which algorithms have their colours.
        name: The chart.
        group: The group.
        ranking: Its ranking over seeds, if there are enough.

    Raises:
        ConfigError: There is nothing to show, or matplotlib is not installed.
    """
    require_drawing_packages()
    how = charts.styles(all_labels(groups))
    found = {chart.name: chart for chart in reversed(group_charts(group, how, ranking))}
    if name not in found:
        raise ConfigError(f"{group.title} has no chart {name!r}; it has {', '.join(reversed(found)) or 'none'}")
    with default_style():
        return found[name].make()
