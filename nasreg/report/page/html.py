"""Renders the page of a run from its contents: facts and numbers as text, graphics as inline SVG, one template."""

from __future__ import annotations

import base64
import hashlib
import shlex
from pathlib import Path

import jinja2
from markupsafe import Markup

from nasreg.report.commands import next_commands
from nasreg.report.describe import describe_architecture
from nasreg.report.page import graphics
from nasreg.report.page.contents import EpochLine, RunContents
from nasreg.specs import RunSpec, genotype_text
from nasreg.specs.formatting import format_bytes, format_count, format_duration, plural
from nasreg.specs.metrics import split_name

TEMPLATES = Path(__file__).parent / "templates"
_UNKNOWN = "-"


def render_page(contents: RunContents) -> str:
    """Return the page of a run as HTML.

    Raises:
        RunDirectoryError: A drawing in the run directory cannot be read.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(duration=format_duration)
    environment.globals.update(plural=plural)
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    style = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    stages = graphics.stages(contents)  # first: it may fail, and drawing takes a while
    groups, omitted_groups = graphics.weights(contents)
    slider = graphics.slider(contents)
    found, space = contents.found, contents.space
    lines = {line.epoch: line for line in contents.epochs}
    return environment.get_template("page.html.j2").render(
        run=contents,
        summary=summary(contents),
        facts=facts(contents),
        commands=next_commands(contents.run.path, contents.spec, contents.status.state),
        description=describe_architecture(space, found) if found else None,
        genotype=genotype_text(space, found) if found else None,
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
        scores=graphics.scores(contents),
        diagnostics=graphics.diagnostics(contents),
        stages=stages,
        costs=costs(contents),
        settings=contents.spec.to_yaml(),
        style=Markup(style),  # noqa: S704  # our own
        script=Markup(script),  # noqa: S704  # our own
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def summary(contents: RunContents) -> str:
    """Return the line below the heading: epochs, trials, resumes, and the metric that tells most."""
    parts = [plural(len(contents.epochs), "epoch")]
    if contents.trials:
        parts.append(plural(len(contents.trials), "trial"))
    if contents.status.resumed:
        parts.append("resumed once" if contents.status.resumed == 1 else f"resumed {contents.status.resumed} times")
    if contents.trials:
        best = contents.ranked_trials[0]
        parts.append(f"best {best.metric.title} {best.metric.format(best.score)}")
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


def step_label(contents: RunContents, line: EpochLine) -> str:
    """Return the label of a position of the slider."""
    if contents.trials or not contents.main_metric:
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
        ("data set", "; ".join([spec.dataset.title, *images])),
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
