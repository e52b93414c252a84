"""Renders the page of a comparison: one template, tables as text, charts and architectures as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from nasreg.registry import default_registry
from nasreg.report.drawing.canvas import figure_svg
from nasreg.report.page.html import render_template
from nasreg.report.page.inline_svg import inline_svg
from nasreg.specs import RunSpec
from nasreg.specs.formatting import plural
from nasreg.studies import charts
from nasreg.studies.collection import RunRecord
from nasreg.studies.directory import RESULTS, StudyDirectory
from nasreg.studies.figures import all_labels, group_charts, ranking_chart
from nasreg.studies.judging import Judgement, Ranking
from nasreg.studies.page.checklist import checklist
from nasreg.studies.page.contents import (
    Drawing,
    Room,
    RunLink,
    common_facts,
    cost_rows,
    drawings,
    operation_shares,
    pair_rows,
    pairs_note,
    ranking_note,
    run_links,
)
from nasreg.studies.protocol import Group
from nasreg.studies.result import StudyResult
from nasreg.studies.tables import summary_rows
from nasreg.studies.wording import budget_note, group_sentence, listed, sampling_note, strength_note

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class ProblemSection:
    """What the page shows of a problem."""

    id: str
    title: str
    sentence: str
    note: str
    rows: Sequence[Sequence[str]]
    sampling: str
    charts: Sequence[Markup]
    pairs: Sequence[Sequence[str]]
    pairs_note: str
    drawings: Sequence[Drawing]
    shares: Sequence[Sequence[str | float]]
    """Heading, then for each operation its share in each algorithm."""
    costs: Sequence[Sequence[str]]
    differences: Sequence[str]
    facts: Sequence[tuple[str, str]]
    runs: Sequence[tuple[str, Sequence[RunLink]]]


def render_study(result: StudyResult, directory: StudyDirectory) -> str:
    """Return the page of a comparison as HTML."""
    how = charts.styles(all_labels(result.groups))
    room = Room()
    sections = [
        _section(f"problem-{number}", group, result.judgements[group.title], how, directory, room)
        for number, group in enumerate(result.groups, start=1)
    ]
    spec, ranking = result.spec, result.ranking
    done = sum(run.done for run in result.runs)
    one_shot = any(run.one_shot for run in result.runs)
    multi_trial = any(not run.one_shot and isinstance(run.spec, RunSpec) for run in result.runs)
    failed = [run for run in result.runs if run.state == "failed"]
    return render_template(
        TEMPLATES,
        "study.html.j2",
        style=(TEMPLATES / "study.css").read_text(encoding="utf-8"),
        title=_heading(result),
        state="done" if done == len(result.runs) else "incomplete",
        progress=f"{done} of {plural(len(result.runs), 'run')}" if done < len(result.runs) else plural(done, "run"),
        summary=result.summary,
        sections=sections,
        ranking=_ranking_chart(ranking, how),
        ranking_note=ranking_note(ranking, "problems") if ranking is not None else "",
        protocol=_protocol(result),
        budget=budget_note(spec.budget, one_shot=one_shot, multi_trial=multi_trial) if spec is not None else "",
        environment=_environment(result.runs),
        notices=result.notices,
        failed=[(f"{run.label} on {run.problem}, seed {run.seed}", run.error or "failed") for run in failed],
        points=checklist(result.groups, spec, default_registry().baseline_algorithm),
        settings=spec.to_yaml() if spec is not None else "",
        commands=_commands(result, directory),
        omitted=room.omitted,
        results=RESULTS,
    )


def _heading(result: StudyResult) -> str:
    if result.spec is not None and result.spec.title:
        return result.spec.title
    labels = all_labels(result.groups)
    if not labels:
        return "Comparison"
    problems = list(dict.fromkeys(group.title for group in result.groups))
    where = problems[0] if len(problems) == 1 else plural(len(problems), "problem")
    return f"{listed(labels) if len(labels) <= 6 else plural(len(labels), 'algorithm')} on {where}"


def _section(
    name: str,
    group: Group,
    judgement: Judgement,
    how: dict[str, charts.Style],
    directory: StudyDirectory,
    room: Room,
) -> ProblemSection:
    drawn = []
    for number, chart in enumerate(group_charts(group, how, judgement.ranking)):
        drawn.append(inline_svg(figure_svg(chart.make), f"{name}-chart-{number}", chart.description))
    return ProblemSection(
        id=name,
        title=group.title,
        sentence=group_sentence(group, judgement),
        note=strength_note(group, judgement),
        rows=summary_rows(group),
        sampling=sampling_note(group, default_registry().baseline_algorithm),
        charts=drawn,
        pairs=pair_rows(judgement, group),
        pairs_note=pairs_note(judgement),
        drawings=drawings(group, name, room),
        shares=operation_shares(group),
        costs=cost_rows(group),
        differences=[each.text for each in group.differences],
        facts=common_facts(group),
        runs=[(label, run_links(group, label, directory)) for label in group.labels],
    )


def _ranking_chart(ranking: Ranking | None, how: dict[str, charts.Style]) -> Markup | None:
    if ranking is None:
        return None
    chart = ranking_chart(ranking, how)
    return inline_svg(figure_svg(chart.make), "ranking", chart.description)


def _protocol(result: StudyResult) -> list[tuple[str, str]]:
    spec = result.spec
    if spec is None:
        seeds = sorted({run.seed for run in result.runs})
        return [("runs", plural(len(result.runs), "run that existed", "runs that existed")), ("seeds", _seeds(seeds))]
    retrain = spec.retrain
    rows = [
        ("algorithms", ", ".join(each.title for each in spec.algorithms)),
        ("seeds", f"{_seeds(spec.seeds)}; the same for every algorithm, also for the order of the data"),
        ("budget", spec.budget.text or "that of each preset"),
        ("options for all", ", ".join(spec.settings)),
        (
            "retraining",
            ""
            if retrain is None
            else f"recipe {retrain.recipe or 'of the data set'}{', ' if retrain.settings else ''}"
            f"{', '.join(retrain.settings)}; measured on the test set once, after the last epoch",
        ),
        ("random search", "left out by --without-random" if not spec.baseline else ""),
    ]
    return [(name, value) for name, value in rows if value]


def _seeds(seeds: Sequence[int]) -> str:
    if len(seeds) > 3 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _environment(runs: Sequence[RunRecord]) -> list[tuple[str, str]]:
    known = [run.environment for run in runs if run.environment]
    if not known:
        return []
    first = known[0]
    machine = first.get("machine", {})
    started = sorted(str(each.get("started", "")) for each in known)
    rows = [
        ("machine", ", ".join(str(value) for value in machine.values())),
        ("threads", str(first.get("threads", ""))),
        ("versions", ", ".join(f"{name} {version}" for name, version in first.get("versions", {}).items())),
        ("started", started[0] if started[0] == started[-1] else f"{started[0]} to {started[-1]}"),
    ]
    return [(name, value) for name, value in rows if value]


def _commands(result: StudyResult, directory: StudyDirectory) -> list[tuple[str, str]]:
    if result.spec is None:
        return []
    return [
        (directory.command("compare", "--seeds", str(2 * len(result.spec.seeds))), "more seeds; what is there is kept"),
        (directory.command("compare", "--csv", "runs.csv", "--latex", "table.tex"), "the tables for a paper"),
        (directory.command("resume"), "computes what is missing"),
    ]
