"""Puts the page together and writes it."""

from __future__ import annotations

import base64
import hashlib
import math
import shlex
from pathlib import Path

import jinja2
from markupsafe import Markup

from nasreg.draw import describe_architecture
from nasreg.draw.page import plain_style
from nasreg.errors import RunDirectoryError
from nasreg.report import pictures
from nasreg.report.commands import next_commands
from nasreg.report.contents import Contents, read_contents
from nasreg.runs import RunDirectory
from nasreg.specs import RunSpec, genotype_text

REPORT = "index.html"
TEMPLATES = Path(__file__).parent / "templates"


def write_report(run_dir: str | Path) -> Path:
    """Write ``index.html`` of a run: equal runs give equal bytes, and a page without a reference to anything outside.

    Args:
        run_dir: The run directory, of a run in any state.

    Returns:
        The page.

    Raises:
        NasregError: It is no run, a file in it is damaged, or the page cannot be written.
    """
    run = RunDirectory(run_dir)
    with plain_style():
        text = render(read_contents(run))
    try:
        return run.write_text(REPORT, text)
    except OSError as error:
        raise RunDirectoryError(f"cannot write {run.path / REPORT}: {error}") from error


def render(contents: Contents) -> str:
    """Return the page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, number=number)
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    style = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    groups, left_out = pictures.weights(contents)
    found, space = contents.found, contents.space
    return environment.get_template("page.html.j2").render(
        run=contents,
        facts=facts(contents),
        commands=next_commands(contents.run.path, contents.spec, contents.status.state),
        words=describe_architecture(space, found) if found else None,
        genotype=genotype_text(space, found) if found else None,
        result=pictures.result(contents),
        strengths=pictures.strengths(contents),
        curves=pictures.curves(contents),
        groups=groups,
        groups_left_out=left_out,
        slider=pictures.slider(contents),
        scores=pictures.scores(contents),
        trials=sorted(contents.trials, key=lambda line: -line.score),
        stages=pictures.stages(contents),
        costs=costs(contents),
        settings=contents.spec.to_yaml(),
        style=Markup(style),  # noqa: S704  # our own
        script=Markup(script),  # noqa: S704  # our own
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def facts(contents: Contents) -> list[tuple[str, str]]:
    """Return what was searched, in words."""
    spec, data = contents.spec, contents.data
    number = contents.space.size()
    size = f"{number:,}" if number < 10**6 else f"about 10^{round(math.log10(number))}"
    parts = [f"{count:,} for the {name}" for name, count in data.parts.items() if count]
    images = [f"{len(data.classes)} classes"] if data.classes else []
    if data.channels:
        images.append(f"images of {data.channels} x {data.height} x {data.width}")
    stated = [
        ("algorithm", spec.algorithm) if isinstance(spec, RunSpec) else ("retrained", spec.source),
        ("preset", spec.preset or ""),
        ("search space", f"{spec.space.name}: {len(contents.space.choices)} choices, {size} architectures"),
        ("data set", "; ".join([spec.dataset.name, *images])),
        ("images", ", ".join(parts)),
        ("seed", str(spec.seed)),
        ("device", spec.device),
        ("started", contents.environment.started),
    ]
    return [(name, value) for name, value in stated if value]


def costs(contents: Contents) -> list[tuple[str, str]]:
    """Return what the run cost and on what it ran, in words."""
    seconds = [line.seconds for line in contents.epochs if line.seconds is not None]
    stated = []
    if seconds:
        stated += [
            ("time in all", f"{duration(sum(seconds))}, in {len(contents.epochs)} epochs"),
            ("an epoch", f"{duration(sum(seconds) / len(seconds))} on average, {duration(max(seconds))} at most"),
        ]
    if contents.status.peak_bytes:
        stated.append(("peak memory", f"{size(contents.status.peak_bytes)}, measured after the first step"))
    cost = contents.cost
    if cost.parameters is not None:
        passes = ", ".join(f"{each.median_ms:.2f} ms for {each.batch_size}" for each in cost.latency)
        stated += [
            ("the network", f"{cost.parameters:,} weights, {cost.macs:,} multiply-accumulates for an image"),
            ("its memory", f"{size(cost.activation_bytes)} of activations to train on {cost.batch_size} images"),
            ("its latency", f"{passes} images"),
        ]
    environment = contents.environment
    machine = environment.machine
    stated += [
        ("machine", ", ".join(str(machine[name]) for name in ("system", "processor") if name in machine)),
        ("processors", str(machine.get("cpus", ""))),
        ("threads", str(environment.threads or "")),
        ("versions", ", ".join(f"{name} {version}" for name, version in environment.versions.items())),
        ("command", shlex.join(environment.command)),
        ("directory", str(contents.run.path)),
    ]
    return [(name, value) for name, value in stated if value]


def percent(value: float | None) -> str:
    """Return a share in per cent."""
    return "not finite" if value is None else f"{value:.1%}"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with so many digits after the point."""
    return "not finite" if value is None else f"{value:.{digits}f}"


def duration(seconds: float) -> str:
    """Return a time as ``2 h 5 min``, ``3 min 20 s``, ``1.5 s`` or ``40 ms``."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(bytes_: float) -> str:
    """Return a number of bytes as ``1.5 GiB``."""
    return f"{bytes_ / 2**30:.1f} GiB" if bytes_ >= 2**30 else f"{bytes_ / 2**20:.0f} MiB"
