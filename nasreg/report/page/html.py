"""Renders the page of a run from its contents: facts and numbers as text, graphics as inline SVG, one template."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from nasreg.config.notation import architecture_text, recorded_entry
from nasreg.report.commands import next_commands
from nasreg.report.describe import describe_architecture
from nasreg.report.page import graphics
from nasreg.report.page.contents import EpochLine, RunContents
from nasreg.runs import files
from nasreg.runs.trial_summary import counts_text, metric_text
from nasreg.specs import RunSpec
from nasreg.specs.formatting import format_bytes, format_count, format_duration, plural
from nasreg.specs.metrics import MetricSpec, metric_spec, split_name
from nasreg.specs.trial import FIDELITY

TEMPLATES = Path(__file__).parent / "templates"
_UNKNOWN = "-"
MAX_FRONT = 100
"""Trials in the table of the Pareto front."""


def render_page(contents: RunContents) -> str:
    """Return the page of a run as HTML.

    Raises:
        RunDirectoryError: A drawing in the run directory cannot be read.
    """
    stages = graphics.stages(contents)  # first: it may fail, and drawing takes a while
    groups, omitted_groups = graphics.weights(contents)
    slider = graphics.slider(contents)
    found, space = contents.found, contents.space
    entry = recorded_entry(contents.spec.space.name)
    lines = {line.epoch: line for line in contents.epochs}
    return render_template(
        TEMPLATES,
        "page.html.j2",
        run=contents,
        summary=summary(contents),
        facts=facts(contents),
        commands=next_commands(contents.run.path, contents.spec, contents.status.state),
        result_facts=[(fact.title, fact.text) for fact in contents.run.facts],
        description=describe_architecture(space, found) if found else None,
        genotype=architecture_text(space, found, entry) if found else None,
        genotype_title="As text" if entry is not None and entry.notation is not None else "Genotype",
        result=graphics.result(contents),
        strengths=graphics.strengths(contents),
        curves=graphics.curves(contents),
        curves_title=curves_title(contents),
        metric_titles=[contents.metric(name).title for name in contents.metric_names],
        epoch_rows=[epoch_row(contents, line) for line in contents.epochs],
        groups=groups,
        omitted_groups=omitted_groups,
        slider=slider,
        slider_steps=[(step.drawing, step_label(contents, lines[step.epoch])) for step in slider.steps],
        heading=heading(contents),
        scores=graphics.scores(contents),
        fronts=graphics.fronts(contents),
        front_table=front_table(contents),
        trial_table=trial_table(contents),
        trial_notes=trial_notes(contents),
        diagnostics=graphics.diagnostics(contents),
        stages=stages,
        costs=costs(contents),
        settings=contents.spec.to_yaml(),
    )


def render_template(folder: Path, name: str, style: str = "", **values: object) -> str:
    """Return a template as HTML: with the style, the script and the macros that all pages share.

    Args:
        folder: Folder of the template.
        name: Name of the template.
        style: More rules of its style sheet.
        **values: What it shows.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(duration=format_duration)
    environment.globals.update(plural=plural)
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    common = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    return environment.get_template(name).render(
        **values,
        style=Markup(common + style),  # noqa: S704  # our own
        script=Markup(script),  # noqa: S704  # our own
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def heading(contents: RunContents) -> str:
    """Return the heading of the page; a search that loaded no data is on its space."""
    spec = contents.spec
    return spec.headline_of(uses_data=contents.used_data) if isinstance(spec, RunSpec) else spec.headline


def summary(contents: RunContents) -> str:
    """Return the line below the heading: epochs or trials, resumes, and the metric that tells most."""
    trials = contents.trials
    parts = [counts_text(trials.counts) if trials else plural(len(contents.epochs), "epoch")]
    if contents.status.resumed:
        parts.append("resumed once" if contents.status.resumed == 1 else f"resumed {contents.status.resumed} times")
    if trials and trials.scores:
        parts.append(f"best {trials.objective.title} {trials.objective.format(trials.best[0]['score'])}")
    elif contents.main_metric:
        parts.append(main_metric_text(contents, contents.epochs[-1]))
    return ", ".join(parts)


def main_metric_text(contents: RunContents, line: EpochLine) -> str:
    """Return the main metric after an epoch, such as ``validation accuracy of the supernet 97.0%``."""
    name = contents.main_metric or ""
    metric = contents.metric(name)
    model = " of the supernet" if contents.trains_supernet else ""
    return f"{metric.title}{model} {metric.format(line.metrics.get(name))}"


def curves_title(contents: RunContents) -> str:
    """Return the heading of the curves, such as ``Loss and accuracy of the supernet``."""
    titles = {spec.name: spec.title for spec in contents.metrics}
    recorded = {split_name(name)[1] for name in contents.metric_names}
    known = [title for name, title in titles.items() if name in recorded] or ["metrics"]
    text = f"{', '.join(known[:-1])} and {known[-1]}" if len(known) > 1 else known[0]
    model = " of the supernet" if contents.trains_supernet else ""
    return f"{text[0].upper()}{text[1:]}{model}"


def epoch_row(contents: RunContents, line: EpochLine) -> list[str]:
    """Return an epoch as a row of the table: its number, each metric, its duration."""
    metrics = [
        contents.metric(name).format(line.metrics[name]) if name in line.metrics else _UNKNOWN
        for name in contents.metric_names
    ]
    return [str(line.epoch), *metrics, _UNKNOWN if line.seconds is None else format_duration(line.seconds)]


def trial_table(contents: RunContents) -> list[list[str]]:
    """Return the table of the best trials: its heading, then a row for each trial.

    Beside the score it has a column for each metric that was measured of one of them, and one for the fidelity where
    that was not 1. The last column tells why trials
    failed; without such trials it is empty.
    """
    trials = contents.trials
    return [] if trials is None else _table_of(contents, trials.objective, trials.best)


def front_table(contents: RunContents) -> list[list[str]]:
    """Return the table of the trials on the Pareto front, in the form of ``trial_table``."""
    trials = contents.trials
    return [] if trials is None else _table_of(contents, trials.objective, trials.front[:MAX_FRONT])


def _table_of(contents: RunContents, objective: MetricSpec, records: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    if not records:
        return []
    known = {metric.name: metric for metric in contents.trial_metrics}
    measured = {name for trial in records for name in trial.get("metrics", {})}
    names = [name for name in known if name in measured] + sorted(measured - known.keys())
    metrics = [known[name] if name in known else metric_spec(name, ()) for name in names]
    last = "failed" if any("reason" in trial for trial in records) else ""
    partial = any("fidelity" in trial for trial in records)
    fidelity = [FIDELITY.title] if partial else []
    rows = [["trial", *fidelity, objective.title, *(metric.title for metric in metrics), "time", last]]
    for trial in records:
        values = trial.get("metrics", {})
        texts = [
            metric_text(metric, values[name]) if name in values else _UNKNOWN
            for name, metric in zip(names, metrics, strict=True)
        ]
        score = objective.format(trial["score"]) if "score" in trial else _UNKNOWN
        duration = format_duration(trial.get("seconds", 0.0))
        fidelity = [FIDELITY.format(trial.get("fidelity", 1.0))] if partial else []
        rows.append([str(trial["trial"]), *fidelity, score, *texts, duration, trial.get("reason", "")])
    return rows


def trial_notes(contents: RunContents) -> list[str]:
    """Return what the chart and the table do not show, and why trials failed or were rejected."""
    trials = contents.trials
    if trials is None:
        return []
    notes = []
    if len(trials.scores) > graphics.MAX_DOTS:
        notes.append(f"The chart shows {graphics.MAX_DOTS:,} of the {len(trials.scores):,} scores.")
    if trials.evaluated > len(trials.best):
        notes.append(f"The table has the best {len(trials.best)} of {trials.evaluated:,} trials.")
    notes += [f"{note}." for note in trials.notes]
    return [*notes, f"The tracebacks are in {files.TRIAL_ERRORS}."] if trials.failed else notes


def step_label(contents: RunContents, line: EpochLine) -> str:
    """Return the label of a position of the slider."""
    if not contents.main_metric:
        return f"epoch {line.epoch}"
    return f"epoch {line.epoch}, {main_metric_text(contents, line)}"


def facts(contents: RunContents) -> list[tuple[str, str]]:
    """Return the facts about the run by their names."""
    spec, data = contents.spec, contents.data
    choices = plural(len(contents.space.choices), "choice")
    images = [plural(len(data.classes), "class", "classes")] if data.classes else []
    if data.channels:
        images.append(f"images of {data.height} x {data.width} pixels, {plural(data.channels, 'channel')}")
    rows = [
        ("algorithm", spec.algorithm_title) if isinstance(spec, RunSpec) else ("architecture", spec.source),
        ("preset", spec.preset or "") if isinstance(spec, RunSpec) else ("recipe", spec.recipe or ""),
        (
            "search space",
            f"{spec.space.title}: {choices}, {format_count(contents.space.size())} architectures",
        ),
        ("evaluator", spec.evaluator.title if isinstance(spec, RunSpec) and spec.evaluator else ""),
        ("workers", str(spec.workers) if isinstance(spec, RunSpec) and spec.workers > 1 else ""),
        ("data set", "; ".join([spec.dataset.title, *images]) if contents.used_data else ""),
        ("images per split", ", ".join(f"{name} {count:,}" for name, count in data.splits.items() if count)),
        ("seed", str(spec.seed)),
        ("device", spec.device),
        ("started", contents.environment.started),
    ]
    return [(name, value) for name, value in rows if value]


def costs(contents: RunContents) -> list[tuple[str, str]]:
    """Return the cost of the run and of the network, and the machine, by their names."""
    seconds = [line.seconds for line in contents.epochs if line.seconds is not None]
    rows = []
    if seconds:
        mean, longest = format_duration(sum(seconds) / len(seconds)), format_duration(max(seconds))
        rows += [
            ("total time", f"{format_duration(sum(seconds))} for {plural(len(contents.epochs), 'epoch')}"),
            ("time per epoch", f"mean {mean}, longest {longest}"),
        ]
    trials = contents.trials
    if trials and trials.evaluated:
        mean, longest = format_duration(trials.seconds / trials.evaluated), format_duration(trials.longest)
        rows += [
            ("time of all trials", f"{format_duration(trials.seconds)} for {plural(trials.evaluated, 'evaluation')}"),
            ("time per trial", f"mean {mean}, longest {longest}"),
        ]
    if contents.status.peak_bytes:
        rows.append(("peak memory", f"{format_bytes(contents.status.peak_bytes)}, measured after the first step"))
    cost = contents.cost
    if cost.parameters is not None:
        rows += [
            ("network", f"{plural(cost.parameters, 'parameter')}, {cost.macs:,} multiply-accumulates per image"),
            (
                "activation memory",
                f"{format_bytes(cost.activation_bytes)} to train on a batch of {plural(cost.batch_size, 'image')}",
            ),
            (
                "latency",
                ", ".join(f"{each.median_ms:.2f} ms for {plural(each.batch_size, 'image')}" for each in cost.latency),
            ),
        ]
    environment = contents.environment
    machine = environment.machine
    rows += [
        ("machine", ", ".join(str(machine[name]) for name in ("system", "processor") if name in machine)),
        ("processors", str(machine.get("cpus", ""))),
        ("threads", str(environment.threads or "")),
        ("versions", ", ".join(f"{name} {version}" for name, version in environment.versions.items())),
        ("command", shlex.join(environment.command)),
        ("directory", str(contents.run.path)),
    ]
    return [(name, value) for name, value in rows if value]
