"""What the page shows of a problem beside its charts: tables as text, architectures, links to runs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from markupsafe import Markup

from nasreg.report.drawing.canvas import figure_svg
from nasreg.report.drawing.cells import cells_figure
from nasreg.report.page.inline_svg import inline_svg
from nasreg.runs import files
from nasreg.specs import CellSpec, RunSpec, SearchSpaceSpec
from nasreg.specs.architecture import Architecture, CellDecision
from nasreg.specs.formatting import format_count, format_duration, format_plain, plural
from nasreg.specs.trial import PARAMETERS
from nasreg.studies.collection import RunRecord
from nasreg.studies.directory import StudyDirectory
from nasreg.studies.judging import Judgement, Ranking
from nasreg.studies.protocol import Group
from nasreg.studies.tables import total_seconds
from nasreg.studies.wording import p_text

MAX_DRAWINGS = 24
"""Architectures that are drawn."""
MAX_PAIRS = 66
_UNKNOWN = "-"


@dataclass(frozen=True)
class Drawing:
    """The best architecture of an algorithm."""

    label: str
    caption: str
    text: str
    svg: Markup | None


@dataclass(frozen=True)
class RunLink:
    """A link to a run."""

    text: str
    href: str
    title: str
    state: str


@dataclass
class Room:
    """How many more architectures the page has room for."""

    drawings: int = MAX_DRAWINGS
    omitted: int = 0
    shown: set[str] = field(default_factory=set)


def pair_rows(judgement: Judgement, group: Group) -> list[list[str]]:
    """Return the table of the pairs: its heading, then a row for each; without pairs it is empty."""
    if not judgement.pairs:
        return []
    rows = [["pair", "difference", "p", "p (Holm)", "A12", "effect"]]
    for pair in judgement.pairs[:MAX_PAIRS]:
        one, other = (pair.one, pair.other) if pair.effect >= 0.5 else (pair.other, pair.one)
        effect, sign = max(pair.effect, 1 - pair.effect), 1 if one == pair.one else -1
        difference = group.objective.format(sign * pair.difference)
        word = f"{pair.effect_size}{'' if pair.significant else ', not significant'}"
        rows.append([f"{one} over {other}", difference, p_text(pair.p), p_text(pair.p_holm), f"{effect:.2f}", word])
    return rows


def pairs_note(judgement: Judgement) -> str:
    """Return what the columns of the table of pairs mean, and the ranking over seeds."""
    if not judgement.pairs:
        return ""
    test = (
        "Wilcoxon's signed-rank test over the seeds that both have"
        if judgement.pairs[0].test == "Wilcoxon"
        else "the test of Mann and Whitney, since the algorithms have other seeds"
    )
    text = (
        f"{test[0].upper()}{test[1:]}, two-sided, with Holm's correction for"
        f" {plural(len(judgement.pairs), 'comparison')}. A12 (Vargha and Delaney) is the chance that a run of the first"
        " is better than one of the second; 0.5 is no difference."
    )
    if judgement.ranking is not None:
        return f"{text} {ranking_note(judgement.ranking, 'seeds')}"
    return text


def ranking_note(ranking: Ranking, blocks: str) -> str:
    """Return what a critical-difference diagram says and how far it holds."""
    text = (
        f"Friedman's test over {ranking.n} {blocks}: p {_equals(ranking.p)}. In the diagram, algorithms under one bar"
        f" do not differ significantly (Nemenyi, critical difference {ranking.critical_difference:.2f}; Demšar, JMLR 7,"
        " 2006)."
    )
    if blocks == "seeds":
        return f"{text} A test over seeds says something about this problem only."
    if ranking.n <= 10:
        return f"{text} With {ranking.n} problems the test is an approximation and finds large differences only."
    return text


def _equals(p: float) -> str:
    text = p_text(p)
    return text if text.startswith("<") else f"= {text}"


def best_run(group: Group, label: str) -> RunRecord | None:
    """Return the run of an algorithm with the best score."""
    return min(group.of(label), key=lambda run: group.objective.sort_key(run.score), default=None)


def drawings(group: Group, name: str, room: Room) -> list[Drawing]:
    """Return the best architecture of each algorithm, drawn as long as there is room."""
    found = []
    for number, label in enumerate(group.labels):
        run = best_run(group, label)
        if run is None or run.architecture is None or run.space is None:
            continue
        parts = [f"{group.objective.title} {group.objective.format(run.score)}", f"seed {run.seed}"]
        if (parameters := run.metrics.get(PARAMETERS.name)) is not None:
            parts.append(f"{format_count(round(parameters))} parameters")
        if (rank := run.fact("rank")) is not None:
            parts.append(f"rank {format_plain(rank)}")
        svg = None
        if room.drawings > 0:
            room.drawings -= 1
            space, architecture = run.space, run.architecture
            svg = inline_svg(
                figure_svg(lambda space=space, architecture=architecture: cells_figure(space, architecture)),  # type: ignore[misc]
                f"{name}-cell-{number}",
                f"best architecture of {label}",
            )
        else:
            room.omitted += 1
        found.append(Drawing(label, ", ".join(parts), run.text, svg))
    return found


def operation_shares(group: Group) -> list[list[str | float]]:
    """Return how often each operation is in what each algorithm found, as a share of all that it has chosen."""
    counts: dict[str, Counter[str]] = {}
    for label in group.labels:
        counts[label] = Counter()
        for run in group.of(label):
            if run.architecture is not None and run.space is not None:
                counts[label].update(_operations(run.space, run.architecture))
    labels = [label for label in counts if counts[label]]
    names = list(dict.fromkeys(name for label in labels for name in counts[label]))
    totals = {name: sum(counts[label][name] / counts[label].total() for label in labels) for name in names}
    rows: list[list[str | float]] = [["operation", *labels]]
    for name in sorted(names, key=lambda name: -totals[name])[:16]:
        rows.append([name, *(counts[label][name] / counts[label].total() for label in labels)])
    return rows if len(rows) > 1 else []


def _operations(space: SearchSpaceSpec, architecture: Architecture) -> list[str]:
    found = []
    for choice in space.choices:
        decision = architecture.decisions[choice.key]
        if isinstance(choice, CellSpec):
            found += [name for node in cast("CellDecision", decision) for name, _ in node]
        elif isinstance(decision, str):
            found.append(decision)
    return found


def cost_rows(group: Group) -> list[list[str]]:
    """Return the table of the costs: its heading, then a row for each algorithm."""
    labels = [label for label in group.labels if group.of(label)]
    if not labels:
        return []
    runs = {label: group.of(label) for label in labels}
    every = [run for label in labels for run in runs[label]]
    columns: list[tuple[str, Mapping[str, str]]] = []

    def add(title: str, wanted: bool, text: Mapping[str, str]) -> None:
        if wanted:
            columns.append((title, text))

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    add(
        "evaluations",
        any(run.evaluations for run in every),
        {label: _count(mean([run.evaluations for run in runs[label]])) for label in labels},
    )
    add(
        "epochs",
        any(run.epochs for run in every),
        {label: _count(mean([run.epochs for run in runs[label]])) for label in labels},
    )
    add(
        "repeated",
        any(run.repeated for run in every),
        {label: _count(mean([run.repeated for run in runs[label]])) for label in labels},
    )
    add(
        "failed",
        any(run.failed for run in every),
        {label: str(sum(run.failed for run in runs[label])) for label in labels},
    )
    add(
        "rejected",
        any(run.rejected for run in every),
        {label: _count(mean([run.rejected for run in runs[label]])) for label in labels},
    )
    add(
        "simulated time",
        any(run.simulated is not None for run in every),
        {label: _mean_time([run.simulated for run in runs[label]]) for label in labels},
    )
    add("measured time", True, {label: _mean_time([run.seconds for run in runs[label]]) for label in labels})
    add(
        "retraining",
        any(run.retrain_seconds is not None for run in every),
        {label: _mean_time([run.retrain_seconds for run in runs[label]]) for label in labels},
    )
    add("total", True, {label: _mean_time([total_seconds(run) for run in runs[label]]) for label in labels})
    return [["algorithm", *(title for title, _ in columns)]] + [
        [label, *(texts[label] for _, texts in columns)] for label in labels
    ]


def _count(value: float) -> str:
    return _UNKNOWN if not value else f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def _mean_time(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return format_duration(sum(known) / len(known)) if known else _UNKNOWN


def common_facts(group: Group) -> list[tuple[str, str]]:
    """Return what is equal in all runs of a group."""
    run = next((run for run in group.runs if isinstance(run.spec, RunSpec)), group.runs[0])
    spec, space = run.spec, run.space
    if spec is None or space is None:
        return []
    options = ", ".join(f"{name}={value}" for name, value in spec.space.options.items())
    rows = [
        ("search space", f"{spec.space.title}: {format_count(space.size())} architectures; {options}"),
        ("data set", spec.dataset.title if run.data is not None else "none is loaded"),
        ("fingerprint of the images", run.data or ""),
        ("evaluator", _evaluator(group)),
        ("metric", group.objective.title),
    ]
    return [(name, value) for name, value in rows if value]


def _evaluator(group: Group) -> str:
    known = next((run.evaluator for run in group.runs if run.evaluator is not None), None)
    if known is None:
        return group.runs[0].source
    options = ", ".join(f"{name}={value}" for name, value in known.items() if name != "name" and value is not None)
    return f"{known['name']}{f'; {options}' if options else ''}"


def run_links(group: Group, label: str, directory: StudyDirectory) -> list[RunLink]:
    """Return a link to each run of an algorithm."""
    runs = sorted((run for run in group.runs if run.label == label), key=lambda run: run.seed)
    return [
        RunLink(
            text=str(run.seed),
            href=_href(run.path, directory.path),
            title=f"{run.state}, {group.objective.format(run.score)}" if run.done else run.state,
            state="done" if run.done else "other",
        )
        for run in runs
    ]


def _href(path: Path, start: Path) -> str:
    """Return the address of a run seen from the page: its page, or its directory."""
    from urllib.parse import quote

    page = path / files.REPORT
    target = page if page.exists() else path / files.RUN
    return quote(os.path.relpath(target, start).replace(os.sep, "/"))
