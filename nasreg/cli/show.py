"""The command that shows an architecture: ``show``. Imports no torch until it is used."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from nasreg.cli import options
from nasreg.cli.output import Output
from nasreg.cli.paths import short

if TYPE_CHECKING:
    from nasreg.runs.directory import RunDirectory
    from nasreg.specs import Architecture, SearchSpaceSpec, SpaceEntry


def show(
    source: options.Source,
    space: options.SourceSpace = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Draw a picture to this .svg or .png file", show_default=False),
    ] = None,
    network: Annotated[
        bool, typer.Option("--network", help="Show the whole network instead: its blocks, their shapes and parameters")
    ] = False,
    set_: Annotated[
        list[str] | None,
        options.settings("With --network, or of an architecture.json in no run: set one option of the space"),
    ] = None,
    as_json: options.Json = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only the names of the files that are written.")
    ] = False,
) -> None:
    """Show an architecture as text, genotype or picture.

    Of a run directory it also lists the trials, and writes the report again.
    """
    from nasreg.errors import UsageError

    output = Output(as_json=as_json, quiet=quiet)
    if network:
        _show_network(output, source, space, out, set_ or [])
        return
    from nasreg.report import draw_cells, write_report
    from nasreg.runs import files
    from nasreg.runs.directory import RunDirectory, run_of_file

    path = Path(source)
    # The functions of os.path, since those of Path raise for a name that is too long.
    is_run = os.path.isdir(path)
    run = RunDirectory(path) if is_run else run_of_file(path) if os.path.isfile(path) else None
    if run is not None and space is not None:
        raise UsageError(f"--space is for an architecture in no run, but {source} is in one")
    if set_ and (run is not None or path.suffix != ".json"):
        raise UsageError("--set is for --network only, and for an architecture.json in no run")
    written: list[Path] = []
    if is_run and not (path / files.ARCHITECTURE).exists():
        output.line(f"wrote {short(write_report(path))}")  # of a run that has not ended, whose architecture is refused
    shown = _by_itself(source, space, set_ or []) if run is None else _of_run(run, path, with_strengths=out is not None)
    if out:
        written.append(draw_cells(shown.space, shown.architecture, out, strengths=shown.strengths))
    if is_run:
        written.append(write_report(path))
    _report(output, shown, written)


class _Shown(NamedTuple):
    space: SearchSpaceSpec
    architecture: Architecture
    strengths: dict[str, list[float]] | None = None
    run: RunDirectory | None = None
    entry: SpaceEntry | None = None


def _report(output: Output, shown: _Shown, written: list[Path]) -> None:
    from nasreg.cli.trials import print_trials
    from nasreg.config.notation import architecture_text
    from nasreg.report import describe_architecture

    genotype = architecture_text(shown.space, shown.architecture, shown.entry)
    names = [short(file) for file in written]
    facts = shown.run.facts if shown.run is not None else ()

    def data() -> object:
        return {
            "architecture": shown.architecture.model_dump(mode="json"),
            "genotype": genotype,
            "facts": {fact.name: fact.value for fact in facts},
            "trials": shown.run.trials if shown.run is not None else [],
            "front": shown.run.front if shown.run is not None else [],
            "files": names,
        }

    def text() -> None:
        if shown.run is not None and shown.run.objective is not None:
            print_trials(output, shown.run)
            output.line()
        output.line(describe_architecture(shown.space, shown.architecture))
        if genotype:
            output.line(f"\n{genotype}")
        if facts:
            output.line()
            output.table("result", [(fact.title, fact.text) for fact in facts])
        if names:
            output.line()
        for name in names:
            output.line(f"wrote {name}")

    output.result(data, text, names)


def _of_run(directory: RunDirectory, path: Path, *, with_strengths: bool) -> _Shown:
    """Return the architecture of a run, or of a file in it."""
    from nasreg.config.notation import recorded_entry
    from nasreg.runs import files
    from nasreg.runs.callbacks import read_metrics
    from nasreg.runs.directory import architecture_in_run

    architecture = architecture_in_run(directory, path)
    space = directory.space
    space.validate(architecture)
    metrics = directory.path / files.METRICS
    records = read_metrics(metrics) if with_strengths and metrics.exists() else []
    strengths = [record.get("strengths") for record in records if record.get("event") == "epoch"]
    entry = recorded_entry(directory.spec.space.name)
    return _Shown(space, architecture, strengths[-1] if strengths else None, directory, entry)


def _by_itself(source: str, space: str | None, settings: list[str]) -> _Shown:
    """Return an architecture that is in no run; its space has to be built for that."""
    from nasreg.config.layers import settings_layer
    from nasreg.networks.build import plan_network
    from nasreg.networks.references import EXAMPLE_INFO, find_architecture

    given = settings_layer(settings, ["space"]).values.get("space", {})
    found = find_architecture(source, space=space)
    plan = plan_network(found, EXAMPLE_INFO, given)
    return _Shown(plan.space, plan.architecture, entry=found.space.entry)


def _show_network(output: Output, source: str, space: str | None, out: Path | None, settings: list[str]) -> None:
    from nasreg.config.layers import settings_layer
    from nasreg.networks.blocks import network_blocks
    from nasreg.networks.build import build_network
    from nasreg.networks.inputs import input_spec
    from nasreg.networks.references import find_architecture
    from nasreg.report.drawing.network import BLOCK_HEADER, block_rows, draw_network

    found = find_architecture(source, space=space)
    info = input_spec(found.run).info
    given = settings_layer(settings, ["space"]).values.get("space", {})
    blocks = network_blocks(build_network(found, info, given), info)
    title = f"{found.title} on images of {info.channels}x{info.height}x{info.width}"
    written = [short(draw_network(blocks, out, title=title))] if out else []

    def text() -> None:
        output.table(title, [BLOCK_HEADER, *block_rows(blocks)])
        for name in written:
            output.line(f"\nwrote {name}")

    output.result(lambda: {"blocks": [asdict(block) for block in blocks], "files": written}, text, written)
