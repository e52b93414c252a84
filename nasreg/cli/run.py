"""The commands that search: ``run``, ``resume``, and ``show`` for what came out. Imports no torch until one is used."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nasreg.api import SearchResult
    from nasreg.events import Callback
    from nasreg.specs import Architecture, SearchSpaceSpec


def run(
    algorithm: Annotated[str, typer.Argument(help="Name of the algorithm; see: nasreg list algorithms")],
    space: Annotated[
        str | None, typer.Option(help="Search space: a name, or package.module:factory. Default: the algorithm's own")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Data set: a name, or folder:PATH. Default: digits")] = None,
    preset: Annotated[str | None, typer.Option(help="Named set of options; see: nasreg describe ALGORITHM")] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file in the form of a run's run.yaml, whole or in part")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set one option, such as trainer.epochs=50; may be repeated"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything that is random")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps. Default: auto")] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory to make. Default: a new one in runs/")] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard files into the run too")
    ] = False,
) -> None:
    """Search for an architecture."""
    from nasreg.registry import default_registry
    from nasreg.resolve import resolve_run

    registry = default_registry()
    spec = resolve_run(
        registry,
        algorithm,
        space=space,
        dataset=dataset,
        preset=preset,
        config=config,
        settings=set_ or [],
        seed=seed,
        device=device,
    )
    if out is None:
        name = f"{algorithm}-{spec.dataset.name}-{time.strftime('%Y%m%d-%H%M%S')}"
        out = Path("runs") / name.replace(":", "-").replace("/", "-")

    def work(callbacks: list[Callback]) -> SearchResult:
        from nasreg import api

        return api.run(spec, registry=registry, out=out, callbacks=callbacks)

    _work(work, out / "tensorboard" if tensorboard else None)


def resume(run_dir: Annotated[Path, typer.Argument(help="Directory of a run that was interrupted")]) -> None:
    """Go on with an interrupted search or retraining, as if it had not been."""
    from nasreg.retraining import REPEATS
    from nasreg.runs import RunDirectory
    from nasreg.specs import RetrainSpec

    if (run_dir / REPEATS).is_file() or isinstance(RunDirectory(run_dir).spec, RetrainSpec):
        from nasreg.cli import retrain

        retrain.resume(run_dir)
        return

    def work(callbacks: list[Callback]) -> SearchResult:
        from nasreg import api

        return api.resume(run_dir, callbacks=callbacks)

    boards = run_dir / "tensorboard"
    _work(work, boards if boards.is_dir() else None)


def _work(work: Callable[[list[Callback]], SearchResult], tensorboard: Path | None) -> None:
    from nasreg.callbacks import TensorBoard
    from nasreg.cli import render
    from nasreg.draw import describe_architecture
    from nasreg.progress import progress_for

    boards: list[Callback] = [TensorBoard(tensorboard)] if tensorboard else []
    with progress_for(sys.stdout) as progress:
        result = work([progress, *boards])
    assert result.run_dir is not None  # noqa: S101  # the commands always have one
    if result.trials:
        typer.echo()
        render.trials(result.trials)
    typer.echo(f"\n{describe_architecture(result.space, result.architecture)}\n")
    for name in ("architecture.json", "genotype.txt", "cells.svg", "index.html"):
        if (result.run_dir / name).exists():
            typer.echo(f"wrote {short(result.run_dir / name)}")
    typer.echo(f"next: nasreg show {short(result.run_dir)}")


def show(
    source: Annotated[
        str,
        typer.Argument(
            help="Run directory, architecture.json, name of a published genotype, or a genotype", show_default=False
        ),
    ],
    space: Annotated[
        str | None,
        typer.Option(help="Space of an architecture.json by itself. Default: darts", show_default=False),
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Draw a picture to this .svg or .png file")] = None,
    network: Annotated[
        bool, typer.Option("--network", help="Show the whole network instead: its parts, their output, their weights")
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="With --network: one option of the space; may be repeated"),
    ] = None,
) -> None:
    """Show an architecture: in words, as a genotype, as a picture; write the report of a run anew."""
    if network:
        _show_network(source, space, out, set_ or [])
        return
    if set_:
        raise typer.BadParameter("--set is for --network only")
    from nasreg.draw import describe_architecture, draw_cells
    from nasreg.specs import genotype_text

    path = Path(source)
    # The functions of os.path, since those of Path raise for what is too long to be a name.
    in_run = os.path.isdir(path) or (os.path.isfile(path) and (path.parent / "space.json").is_file())
    found, architecture, strengths = _of_run(path) if in_run else _by_itself(source, space)
    if out:
        draw_cells(found, architecture, out, strengths=strengths)
    typer.echo(describe_architecture(found, architecture))
    genotype = genotype_text(found, architecture)
    if genotype:
        typer.echo(f"\n{genotype}")
    if out:
        typer.echo(f"\nwrote {out}")
    if os.path.isdir(path):
        typer.echo()
        _write_report(path)


_Shown = tuple["SearchSpaceSpec", "Architecture", "dict[str, list[float]] | None"]


def _of_run(path: Path) -> _Shown:
    """Return what a run found, or a file in it holds; tell of its trials."""
    from nasreg.callbacks import read_metrics
    from nasreg.cli import render
    from nasreg.runs import RunDirectory
    from nasreg.specs import Architecture

    directory = RunDirectory(path if path.is_dir() else path.parent)
    if path.is_dir() and not (path / "architecture.json").exists():
        _write_report(path)
    architecture = directory.architecture if path.is_dir() else Architecture.load(path)
    space = directory.space
    space.validate(architecture)
    metrics = directory.path / "metrics.jsonl"
    lines = read_metrics(metrics) if metrics.exists() else []
    strengths = [line.get("strengths") for line in lines if line.get("event") == "epoch"]
    if trials := [line for line in lines if line.get("event") == "trial"]:
        render.trials(trials)
        typer.echo()
    return space, architecture, strengths[-1] if strengths else None


def _show_network(source: str, space: str | None, out: Path | None, settings: list[str]) -> None:
    from nasreg.cli import render
    from nasreg.draw.network import block_rows, draw_network
    from nasreg.layers import settings_layer
    from nasreg.networks import build_network, find_source, network_blocks
    from nasreg.shape import data_shape

    found = find_source(source, space=space)
    info = data_shape(found.run).info
    options = settings_layer(settings, ["space"]).values.get("space", {})
    blocks = network_blocks(build_network(found, info, options), info)
    title = f"{found.title} on images of {info.channels}x{info.height}x{info.width}"
    render.table(title, [("part", "takes", "gives", "weights"), *block_rows(blocks)])
    if out:
        typer.echo(f"\nwrote {draw_network(blocks, out, title=title)}")


def _by_itself(source: str, space: str | None) -> _Shown:
    """Return an architecture that belongs to no run; its space has to be built for that."""
    from nasreg.networks import find_source, plan_network
    from nasreg.specs import DataInfo

    info = DataInfo(channels=3, height=32, width=32, classes=("0", "1"))  # what it is for does not matter here
    plan = plan_network(find_source(source, space=space), info)
    return plan.space, plan.architecture, None


def _write_report(run_dir: Path) -> None:
    from nasreg.report import write_report

    typer.echo(f"wrote {short(write_report(run_dir))}")


def short(path: Path) -> str:
    """Return a path as short as it is still right from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
