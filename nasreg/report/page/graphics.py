"""The graphics of the page as inline SVG: which drawings and charts a run has, their order, and how many fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

from markupsafe import Markup

from nasreg.errors import RunDirectoryError
from nasreg.report.describe import cell_title, edge_title
from nasreg.report.drawing.canvas import figure_svg
from nasreg.report.drawing.cells import cells_figure
from nasreg.report.page.charts import (
    ScoreDots,
    WeightTable,
    curve_figure,
    diagnostics_figure,
    score_figure,
    weight_figure,
)
from nasreg.report.page.contents import Mark, RunContents
from nasreg.report.page.front import front_figure, front_points
from nasreg.report.page.inline_svg import inline_svg
from nasreg.runs.trial_summary import TrialSummary, counts_text
from nasreg.specs import Architecture, CellSpec, ChoiceSpec, SearchSpaceSpec
from nasreg.specs.architecture import CellDecision
from nasreg.specs.formatting import format_plain, plural
from nasreg.specs.metrics import split_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_ARCHITECTURES = 60
MAX_WEIGHTS = 120
MAX_CURVES = 12
DIAGNOSTICS_PER_CHART = 5
MAX_DOTS = 2000
MAX_CROSSES = 200
"""Trials in the chart of the scores that have a score, and that failed."""

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Step:
    """A position of the slider."""

    epoch: int
    drawing: int
    """Index of the drawing that is shown."""


@dataclass(frozen=True)
class Slider:
    """The architectures after each epoch: every drawing once, and the one to show at each position."""

    steps: list[Step]
    drawings: list[Markup]
    epochs: int
    """Number of epochs; the slider may have fewer positions."""


@dataclass(frozen=True)
class WeightGroup:
    """The weights of a cell, or of all other choices, over the epochs."""

    title: str
    min_share: float
    """The share of the darkest colour; see ``WeightTable.shares``."""
    max_share: float
    has_removed: bool
    """Whether a candidate was removed during the search."""
    charts: list[Markup]


def _inline(make: Callable[[], Figure], prefix: str, title: str) -> Markup:
    return inline_svg(figure_svg(make), prefix, title)


def result(contents: RunContents) -> Markup | None:
    """Return the drawing of the architecture found, with the strengths of the last epoch; None before the first one."""
    architecture = contents.found
    if architecture is None:
        return None
    return _inline(
        lambda: cells_figure(contents.space, architecture, strengths=strengths(contents)), "result", "the architecture"
    )


def strengths(contents: RunContents) -> dict[str, list[float]]:
    """Return the strengths of the edges of each cell after the last epoch, without cells that have none."""
    known = contents.epochs[-1].strengths if contents.epochs else {}
    cells = [choice.key for choice in contents.space.choices if isinstance(choice, CellSpec)]
    numbers = {key: [value for value in known.get(key, []) if value is not None] for key in cells}
    return {key: values for key, values in numbers.items() if values and len(values) == len(known[key])}


def curves(contents: RunContents) -> list[Markup]:
    """Return a chart for each metric, with a curve for each split; for the first metrics only, where there are many."""
    series: dict[str, dict[str, list[float | None]]] = {}
    for recorded in contents.metric_names:
        split, name = split_name(recorded)
        series.setdefault(name, {})[split or name] = [line.metrics.get(recorded) for line in contents.epochs]
    order = [spec.name for spec in contents.metrics]
    names = sorted(series, key=lambda name: order.index(name) if name in order else len(order))
    return [_curves_of(contents, name, series[name], place) for place, name in enumerate(names[:MAX_CURVES])]


def _curves_of(contents: RunContents, name: str, series: dict[str, list[float | None]], place: int) -> Markup:
    metric, epochs = contents.metric(name), [line.epoch for line in contents.epochs]
    last = ", ".join(f"{split} {metric.format(values[-1])}" for split, values in series.items())
    title = f"{metric.title} over epochs {epochs[0]} to {epochs[-1]}; in the last {last}"
    return _inline(lambda: curve_figure(metric, epochs, series, contents.marks), f"curve-{place}", title)


def diagnostics(contents: RunContents) -> list[Markup]:
    """Return charts of the diagnostics of the algorithm over the epochs, some of them in each."""
    names = list(dict.fromkeys(name for line in contents.epochs for name in line.diagnostics))
    return [
        _diagnostics_of(contents, names[start : start + DIAGNOSTICS_PER_CHART], start)
        for start in range(0, len(names), DIAGNOSTICS_PER_CHART)
    ]


def _diagnostics_of(contents: RunContents, names: Sequence[str], start: int) -> Markup:
    epochs = [line.epoch for line in contents.epochs]
    series = {name: [line.diagnostics.get(name) for line in contents.epochs] for name in names}
    last = ", ".join(f"{name} {format_plain(row[-1])}" for name, row in series.items() if row[-1] is not None)
    title = f"diagnostics over epochs {epochs[0]} to {epochs[-1]}; in the last {last or 'none'}"
    return _inline(lambda: diagnostics_figure(epochs, series, contents.marks), f"diagnostics-{start}", title)


def weights(contents: RunContents) -> tuple[list[WeightGroup], int]:
    """Return charts of the weights over the epochs, and the number of charts that do not fit on the page."""
    tables: dict[str, list[WeightTable]] = {}
    for choice in contents.space.choices:
        if known := _tables(contents, choice):
            tables.setdefault(cell_title(choice) if isinstance(choice, CellSpec) else "choices", []).extend(known)
    groups, room = [], MAX_WEIGHTS
    for place, (title, group) in enumerate(tables.items()):
        shares = [share for table in group for _, _, share in table.shares()] or [1.0]
        scale = min(shares), max(shares)
        removed = any(name not in row for table in group for row in table.rows.values() for name in table.candidates)
        charts = [
            _weights_of(table, contents.marks, scale, f"weights-{place}-{number}")
            for number, table in enumerate(group[: max(room, 0)])
        ]
        room -= len(group)
        if charts:
            groups.append(WeightGroup(title, *scale, removed, charts))
    return groups, max(-room, 0)


def _weights_of(table: WeightTable, marks: list[Mark], scale: tuple[float, float], prefix: str) -> Markup:
    last = table.rows[max(table.rows)]
    weights = ", ".join(f"{name} {value:.2f}" for name, value in last.items() if value is not None)
    title = f"weights of {table.title} over the epochs; in the last {weights}"
    return _inline(lambda: weight_figure(table, marks, *scale), prefix, title)


def _tables(contents: RunContents, choice: ChoiceSpec) -> list[WeightTable]:
    """Return the recorded weights of a choice: for a cell a table for each edge, else one."""
    lines = [line for line in contents.epochs if line.weights.get(choice.key)]
    tables = []
    for number, (title, candidates, chosen) in enumerate(_edges(choice, contents.found)):
        rows = {
            line.epoch: line.weights[choice.key][number] for line in lines if number < len(line.weights[choice.key])
        }
        if rows:
            tables.append(WeightTable(title, candidates, chosen, rows))
    return tables


def _edges(choice: ChoiceSpec, found: Architecture | None) -> Iterator[tuple[str, Sequence[str], Sequence[str]]]:
    """Yield for each row of weights of a choice its title, all candidates, and the chosen ones."""
    decision = found.decisions[choice.key] if found else ()
    if not isinstance(choice, CellSpec):
        chosen = decision if isinstance(decision, tuple) else (decision,)
        yield choice.key, choice.rows[0], [str(name) for name in chosen]
        return
    kept = {
        choice.edge_number(node, slot, source): name
        for node, edges in enumerate(cast("CellDecision", decision))
        for slot, (name, source) in enumerate(edges)
    }
    for edge, candidates in enumerate(choice.candidates):
        yield edge_title(choice, edge), candidates, [kept[edge]] if edge in kept else []


def evenly(numbers: Sequence[int], max_count: int) -> list[int]:
    """Return some of the numbers, as evenly spread as possible, the first and the last among them.

    Args:
        numbers: The numbers.
        max_count: How many to return at most, 2 or more.
    """
    if len(numbers) <= max_count:
        return list(numbers)
    return [numbers[round(place * (len(numbers) - 1) / (max_count - 1))] for place in range(max_count)]


def slider(contents: RunContents) -> Slider:
    """Return the architecture after each epoch; after some epochs only, where too many of them differ."""
    texts = {epoch: architecture.to_json() for epoch, architecture in contents.derived.items()}
    epochs = sorted(texts)
    if len(set(texts.values())) > MAX_ARCHITECTURES:
        epochs = evenly(epochs, MAX_ARCHITECTURES)
    distinct = list(dict.fromkeys(texts[epoch] for epoch in epochs))
    first = {text: epoch for epoch in reversed(epochs) for text in [texts[epoch]]}
    drawings = [_architecture(contents.space, contents.derived[first[text]], first[text]) for text in distinct]
    return Slider([Step(epoch, distinct.index(texts[epoch])) for epoch in epochs], drawings, len(texts))


def _architecture(space: SearchSpaceSpec, architecture: Architecture, epoch: int) -> Markup:
    return _inline(
        lambda: cells_figure(space, architecture), f"epoch-{epoch}", f"architecture derived after epoch {epoch}"
    )


def scores(contents: RunContents) -> Markup | None:
    """Return the chart of the scores of the trials; None where there are none."""
    trials = contents.trials
    if trials is None or not trials.scores:
        return None
    metric, dots = trials.objective, score_dots(trials)
    title = f"scores of {counts_text(trials.counts)}; the best {metric.format(trials.best[0]['score'])}"
    return _inline(lambda: score_figure(dots, metric), "scores", title)


def fronts(contents: RunContents) -> list[Markup]:
    """Return a chart of the Pareto front for each objective beside the score; none in a search with one objective."""
    trials = contents.trials
    if trials is None or not trials.front:
        return []
    charts = []
    for number, cost in enumerate(trials.objectives):
        title = f"{trials.objective.title} over {cost.title}; {plural(len(trials.front), 'trial')} on the Pareto front"
        make = partial(
            front_figure, front_points(trials, number), trials.objective, cost, is_only=len(trials.objectives) == 1
        )
        charts.append(_inline(make, f"front-{number}", title))
    return charts


def score_dots(trials: TrialSummary) -> ScoreDots:
    """Return the trials that the chart shows: where they are too many those that were the best so far, and some others.

    Args:
        trials: The trials; at least one has a score.
    """
    best = _some([each[:2] for each in trials.so_far_best()], MAX_DOTS)
    shown = set(best)
    others = _some([each[:2] for each in trials.scores if each[:2] not in shown], MAX_DOTS - len(best))
    last = max(trials.scores[-1].trial, *trials.failed[-1:], 1)
    return ScoreDots(sorted([*best, *others]), best, _some(trials.failed, MAX_CROSSES), last)


def _some(values: Sequence[_Value], max_count: int) -> list[_Value]:
    """Return some of the values, as ``evenly`` does; none where there is not even space for two."""
    return [values[place] for place in evenly(range(len(values)), max_count)] if max_count > 1 else []


def stages(contents: RunContents) -> list[tuple[str, Markup]]:
    """Return the drawings that the algorithm wrote to ``stages/``, with their names.

    Raises:
        RunDirectoryError: A drawing cannot be read.
    """
    drawings = []
    for number, path in enumerate(contents.stage_drawings):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RunDirectoryError(f"cannot read {path}: {error}") from error
        name = path.stem.replace("-", " ")
        drawings.append((name, inline_svg(text, f"stage-{number}", name)))
    return drawings
