"""The command that looks at a search before it is run: ``check``. Imports no torch until it is used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nasreg.cli import options
from nasreg.cli.output import Output
from nasreg.specs.formatting import format_bytes, format_count, format_duration, format_number, plural

if TYPE_CHECKING:
    from nasreg.engine.checks.findings import (
        CandidateFacts,
        CheckReport,
        DataFacts,
        ImagesFacts,
        NetworkFacts,
        SearchFacts,
        Section,
        SpaceFacts,
    )

_Row = tuple[str, ...]

MAX_CLASSES = 20
"""Number of classes above which only the smallest and the largest are printed."""


def check(
    algorithm: Annotated[
        str | None,
        typer.Argument(
            metavar="[ALGORITHM]",
            help="Name of the algorithm, or a YAML file in the form of a run.yaml. Default: the algorithm that the"
            " file of --config names, else the default one",
            show_default=False,
        ),
    ] = None,
    space: options.Space = None,
    dataset: options.Dataset = None,
    evaluator: options.Evaluator = None,
    preset: options.Preset = None,
    config: options.Config = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    device: options.Device = None,
    workers: options.Workers = None,
    as_json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the findings, one to a line.")] = False,
) -> None:
    """Check a search without running it: data, space, networks, time and memory of a step.

    Everything that is found is listed at once. Exit code 2 if there is an error. Nothing is written.
    """
    from nasreg.config.request import RunRequest
    from nasreg.config.resolve import chosen_algorithm, resolve
    from nasreg.engine.checks.check import check_run
    from nasreg.errors import UsageError
    from nasreg.registry import default_registry

    output = Output(as_json=as_json, quiet=quiet)
    registry = default_registry()
    file = None if algorithm is None else Path(algorithm)
    if file is not None and file.suffix in (".yaml", ".yml"):
        if config is not None:
            raise UsageError(f"{file} is a second configuration file beside --config: give one of them")
        algorithm, config = None, file
    run = resolve(
        registry,
        RunRequest(
            algorithm=chosen_algorithm(registry, algorithm, config),
            space=space,
            dataset=dataset,
            evaluator=evaluator,
            preset=preset,
            config=config,
            settings=set_ or [],
            seed=seed,
            device=device,
            workers=workers,
        ),
    )
    with output.counting() as progress:
        report = check_run(run, registry=registry, progress=progress)
    brief = [f"{each.level}: {each.place}: {each.message}" for each in report.findings]
    output.result(lambda: report.model_dump(mode="json"), lambda: _print(output, report), brief)
    if not report.ok:
        raise typer.Exit(2)


def _print(output: Output, report: CheckReport) -> None:
    output.line(f"check of {report.title}")
    _findings(output, report, "request")
    _section(output, "data", _data_rows(report.data))
    _findings(output, report, "data")
    _section(output, "search space", _space_rows(report.space))
    for key in dict.fromkeys(each.choice for each in report.space.candidates) if report.space else ():
        _section(output, f"choice {key}", _candidate_rows(report.space, key))
    _findings(output, report, "space")
    _section(output, "networks", _network_rows(report.network))
    _findings(output, report, "network")
    _section(output, "search", _search_rows(report.search))
    _findings(output, report, "search")
    output.line(f"\n{summary(report)}")


def _section(output: Output, title: str, rows: Sequence[_Row]) -> None:
    if rows:
        output.line()
        output.table(title, rows)


def _findings(output: Output, report: CheckReport, section: Section) -> None:
    for each in report.findings:
        if each.section == section:
            output.line(f"  {each.level}: {each.place}: {each.message}")


def summary(report: CheckReport) -> str:
    """Return what was found, and what the search will take, in one line."""
    counts = {"error": report.count("error"), "warning": report.count("warning")}
    found = " and ".join(plural(count, level) for level, count in counts.items() if count) or "nothing wrong was found"
    if not report.ok:
        return f"{found}: the search would fail or mean nothing as it is"
    search = report.search
    if search is None or search.seconds is None:
        return f"{found}; the duration of the search is not known"
    memory = ""
    if search.step is not None and search.step.peak_bytes is not None:
        memory = f" and {format_bytes(search.step.peak_bytes)} of memory"
    return f"{found}; the search will take about {format_duration(search.seconds)}{memory} (an estimate)"


def _data_rows(data: DataFacts | None) -> list[_Row]:
    if data is None:
        return []
    rows: list[_Row] = []
    for each in data.images:
        rows.append((f"{each.name} set", _images_text(each)))
        if each.name == "train":
            rows.append(("", f"classes: {_classes_text(each)}"))
    if data.splits:
        rows.append(("splits", ", ".join(f"{name} {count:,}" for name, count in data.splits.items())))
    if not data.test_set:
        rows.append(("test set", "none"))
    return rows


def _images_text(images: ImagesFacts) -> str:
    text = plural(images.samples, "image")
    if images.unusable:
        text += f", {images.unusable:,} of which cannot be used"
    if images.shape is None or images.low is None or images.high is None:
        return text
    channels, height, width = images.shape
    values = f"values {format_number(images.low)} to {format_number(images.high)} of {images.dtype}"
    if images.dtype == "uint8":
        values = f"values {images.low:.0f} to {images.high:.0f} of uint8"
    return f"{text} of {height}x{width} with {plural(channels, 'channel')}, {values}"


def _classes_text(images: ImagesFacts) -> str:
    counts = images.classes
    if len(counts) <= MAX_CLASSES:
        return ", ".join(f"{name} ({count:,})" for name, count in counts.items())
    low, high = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    return f"{len(counts):,}, from {low} ({counts[low]:,}) to {high} ({counts[high]:,} images)"


def _space_rows(space: SpaceFacts | None) -> list[_Row]:
    if space is None:
        return []
    from nasreg.engine.checks.space import cost_text

    choices = plural(space.n_choices, "choice")
    rows: list[_Row] = [("size", f"{choices}, {format_count(space.n_architectures)} architectures")]
    rows += [
        (
            f"{each.which} architecture",
            f"{each.parameters:,} parameters{'' if each.macs is None else f', {each.macs:,} MACs'}",
        )
        for each in space.architectures
    ]
    for budget in space.budgets:
        met = {True: "can be met", False: "cannot be met", None: "was met by none"}[budget.reachable]
        share = "" if budget.share is None else f", by {budget.share:.0%} of {budget.samples} random architectures"
        limit = cost_text(budget.option.removeprefix("trainer.max_"), budget.limit)
        rows.append((budget.option, f"{limit} at most: {met}{share}"))
    return rows


def _candidate_rows(space: SpaceFacts | None, key: str) -> list[_Row]:
    """Return a row for each candidate of a choice, with means over its places."""
    if space is None:
        return []
    rows: list[_Row] = [("candidate", "places", "output", "parameters", "MACs")]
    places: dict[str, list[CandidateFacts]] = {}
    for each in space.candidates:
        if each.choice == key:
            places.setdefault(each.candidate, []).append(each)
    for name, some in places.items():
        shapes = {("x".join(map(str, each.shape)) or "number") if each.shape is not None else "none" for each in some}
        macs = [each.macs for each in some if each.macs is not None]
        rows.append(
            (
                name,
                str(len(some)),
                shapes.pop() if len(shapes) == 1 else f"{len(shapes)} shapes",
                f"{sum(each.parameters for each in some) / len(some):,.0f}",
                f"{sum(macs) / len(macs):,.0f}" if macs else "none",
            )
        )
    return rows


def _network_rows(network: NetworkFacts | None) -> list[_Row]:
    if network is None:
        return []
    answers = {True: "yes", False: "no", None: "not tried"}
    rows: list[_Row] = [
        ("output", "not known" if network.output is None else f"{network.output} for a batch of 2"),
        ("frozen networks compute the same", answers[network.freezes]),
        ("can be copied", answers[network.copies]),
        ("weights can be saved and loaded", answers[network.saves]),
    ]
    return rows + [(f"can be exported to {name}", answers[done]) for name, done in network.exports.items()]


def _search_rows(search: SearchFacts | None) -> list[_Row]:
    if search is None:
        return []
    rows: list[_Row] = []
    if search.step is not None:
        rows.append((search.step.what, f"{format_duration(search.step.seconds)} on {search.step.device}"))
        if search.step.peak_bytes is not None:
            rows.append(("peak memory", format_bytes(search.step.peak_bytes)))
    rows.append(("the search", search.plan))
    if search.seconds is not None:
        rows.append(("duration", f"about {format_duration(search.seconds)}, an estimate from a few steps"))
    return rows
