"""The pictures of the report, ready for the page: what each shows, in which order, and how many there may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from markupsafe import Markup

from nasreg.draw import cells_figure
from nasreg.draw.page import svg_text
from nasreg.draw.words import cell_title, state_name
from nasreg.errors import RunDirectoryError
from nasreg.report.contents import Contents, Mark
from nasreg.report.figures import WeightTable, curve_figure, score_figure, weight_figure
from nasreg.report.svg import inline_svg
from nasreg.specs import Architecture, CellSpec, InputChoiceSpec, LayerChoiceSpec, SearchSpaceSpec
from nasreg.specs.architecture import CellDecision

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ARCHITECTURES = 60
MOST_WEIGHTS = 120
AnyChoice = LayerChoiceSpec | InputChoiceSpec | CellSpec


@dataclass(frozen=True)
class Step:
    """A place of the slider."""

    epoch: int
    picture: int
    accuracy: float | None


@dataclass(frozen=True)
class Slider:
    """The architectures of the epochs: each picture once, and which one is shown where."""

    steps: list[Step]
    pictures: list[Markup]
    epochs: int
    """How many there are; the slider may have fewer places."""


@dataclass(frozen=True)
class WeightGroup:
    """The weights of a cell, or of all other choices, over the epochs."""

    title: str
    least: float
    """The share of the darkest colour; see ``WeightTable.shares``."""
    most: float
    dropped: bool
    """Whether a candidate was no longer there at some time."""
    pictures: list[Markup]


def _picture(make: Callable[[], Figure], prefix: str, title: str) -> Markup:
    return inline_svg(svg_text(make), prefix, title)


def result(contents: Contents) -> Markup | None:
    """Return the picture of what was found, with the strengths of the last epoch; None before the first epoch."""
    architecture = contents.found
    if architecture is None:
        return None
    return _picture(
        lambda: cells_figure(contents.space, architecture, strengths=strengths(contents)), "result", "the architecture"
    )


def strengths(contents: Contents) -> dict[str, list[float]]:
    """Return how strong the edges of each cell are after the last epoch; nothing where it is not known."""
    known = contents.epochs[-1].strengths if contents.epochs else {}
    cells = [choice.key for choice in contents.space.choices if isinstance(choice, CellSpec)]
    numbers = {key: [value for value in known.get(key, []) if value is not None] for key in cells}
    return {key: values for key, values in numbers.items() if values and len(values) == len(known[key])}


def curves(contents: Contents) -> list[Markup]:
    """Return the curves of loss and accuracy."""
    if not contents.epochs:
        return []
    epochs = [line.epoch for line in contents.epochs]
    pictures = []
    for what in ("loss", "accuracy"):
        series = {part: [getattr(line, f"{part}_{what}") for line in contents.epochs] for part in contents.parts}
        ends = ", ".join(f"{part} {values[-1]:.3f}" for part, values in series.items() if values[-1] is not None)
        title = f"{what} over epochs {epochs[0]} to {epochs[-1]}; at the end {ends or 'not finite'}"

        def make(series: dict[str, list[float | None]] = series, what: str = what) -> Figure:
            return curve_figure(what, epochs, series, contents.marks)

        pictures.append(_picture(make, what, title))
    return pictures


def weights(contents: Contents) -> tuple[list[WeightGroup], int]:
    """Return pictures of the weights over the epochs, and how many more there would be than a page can take."""
    tables: dict[str, list[WeightTable]] = {}
    for choice in contents.space.choices:
        if known := _tables(contents, choice):
            tables.setdefault(cell_title(choice) if isinstance(choice, CellSpec) else "choices", []).extend(known)
    marks = contents.marks if contents.stages else []
    groups, left = [], MOST_WEIGHTS
    for place, (title, group) in enumerate(tables.items()):
        shares = [share for table in group for _, _, share in table.shares()] or [1.0]
        scale = min(shares), max(shares)
        dropped = any(name not in row for table in group for row in table.rows.values() for name in table.candidates)
        drawn = [
            _weights_picture(table, marks, scale, f"weights-{place}-{number}")
            for number, table in enumerate(group[: max(left, 0)])
        ]
        left -= len(group)
        if drawn:
            groups.append(WeightGroup(title, *scale, dropped, drawn))
    return groups, max(-left, 0)


def _weights_picture(table: WeightTable, marks: list[Mark], scale: tuple[float, float], prefix: str) -> Markup:
    last = table.rows[max(table.rows)]
    said = ", ".join(f"{name} {value:.2f}" for name, value in last.items() if value is not None)
    title = f"weights of {table.title} over the epochs; at the end {said}"
    return _picture(lambda: weight_figure(table, marks, *scale), prefix, title)


def _tables(contents: Contents, choice: AnyChoice) -> list[WeightTable]:
    """Return the weights of a choice: for a cell a table for each edge, else one. None where they are not known."""
    lines = [line for line in contents.epochs if line.weights.get(choice.key)]
    tables = []
    for number, (title, candidates, chosen) in enumerate(_edges(choice, contents.found)):
        rows = {
            line.epoch: line.weights[choice.key][number] for line in lines if number < len(line.weights[choice.key])
        }
        if rows:
            tables.append(WeightTable(title, candidates, chosen, rows))
    return tables


def _edges(choice: AnyChoice, found: Architecture | None) -> Iterator[tuple[str, Sequence[str], Sequence[str]]]:
    """Yield for each row of a choice's weights its title, all candidates, and those that were chosen."""
    decision = found.decisions[choice.key] if found else ()
    if not isinstance(choice, CellSpec):
        yield (
            choice.key,
            choice.candidates,
            [decision] if isinstance(decision, str) else [str(name) for name in decision],
        )
        return
    for node in range(choice.nodes):
        kept = {source: name for name, source in cast("CellDecision", decision)[node]} if found else {}
        for source, edge in enumerate(choice.edges_into(node)):
            title = f"{state_name(choice, source)} to {state_name(choice, choice.inputs + node)}"
            yield title, choice.candidates[edge], [kept[source]] if source in kept else []


def evenly(numbers: Sequence[int], most: int) -> list[int]:
    """Choose so many numbers at most, as evenly as can be, the first and the last among them."""
    if len(numbers) <= most:
        return list(numbers)
    return [numbers[round(place * (len(numbers) - 1) / (most - 1))] for place in range(most)]


def slider(contents: Contents) -> Slider:
    """Return the architecture of each epoch; of some epochs only, where too many of them are different."""
    texts = {epoch: architecture.to_json() for epoch, architecture in contents.derived.items()}
    epochs = sorted(texts)
    if len(set(texts.values())) > MOST_ARCHITECTURES:
        epochs = evenly(epochs, MOST_ARCHITECTURES)
    distinct = list(dict.fromkeys(texts[epoch] for epoch in epochs))
    first = {text: epoch for epoch in reversed(epochs) for text in [texts[epoch]]}
    pictures = [
        _architecture(contents.space, contents.derived[first[text]], f"epoch-{first[text]}") for text in distinct
    ]
    accuracy = {line.epoch: line.validation_accuracy for line in contents.epochs}
    steps = [Step(epoch, distinct.index(texts[epoch]), accuracy[epoch]) for epoch in epochs]
    return Slider(steps, pictures, len(texts))


def _architecture(space: SearchSpaceSpec, architecture: Architecture, prefix: str) -> Markup:
    return _picture(lambda: cells_figure(space, architecture), prefix, f"architecture derived after {prefix}")


def scores(contents: Contents) -> Markup | None:
    """Return the picture of the trials' scores."""
    if not contents.trials:
        return None
    values = [line.score for line in contents.trials]
    title = f"scores of {len(values)} trials, the best {max(values):.1%}"
    return _picture(lambda: score_figure(values), "scores", title)


def stages(contents: Contents) -> list[tuple[str, Markup]]:
    """Return the pictures that the algorithm put into ``stages/``, with their names.

    Raises:
        RunDirectoryError: One cannot be read.
    """
    pictures = []
    for number, path in enumerate(contents.pictures):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RunDirectoryError(f"cannot read {path}: {error}") from error
        name = path.stem.replace("-", " ")
        pictures.append((name, inline_svg(text, f"stage-{number}", name)))
    return pictures
