"""The command that searches: ``run``. Imports no torch until it is used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nasreg.cli import options
from nasreg.cli.output import Output
from nasreg.cli.paths import run_directory

if TYPE_CHECKING:
    from nasreg.events import Callback


def run(
    algorithm: Annotated[
        str,
        typer.Argument(
            metavar="ALGORITHM", help="Name of the algorithm; see: nasreg list algorithms", show_default=False
        ),
    ],
    space: options.Space = None,
    dataset: options.Dataset = None,
    evaluator: options.Evaluator = None,
    preset: options.Preset = None,
    config: options.Config = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    device: options.Device = None,
    workers: options.Workers = None,
    executor: options.Executor = None,
    out: options.Out = None,
    tensorboard: options.Tensorboard = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Search for an architecture."""
    from nasreg.cli.results import first_lines, report_search, report_spec
    from nasreg.config.request import RunRequest
    from nasreg.config.resolve import resolve
    from nasreg.registry import default_registry
    from nasreg.specs.references import parse_reference

    output = Output(as_json=as_json, quiet=quiet)
    registry = default_registry()
    resolved = resolve(
        registry,
        RunRequest(
            algorithm=algorithm,
            space=space,
            dataset=dataset,
            evaluator=evaluator,
            preset=preset,
            config=config,
            settings=set_ or [],
            seed=seed,
            device=device,
            workers=workers,
            executor=executor,
        ),
    )
    if dry_run:
        report_spec(output, resolved)
        return
    from nasreg.engine.search import run_search

    title = parse_reference(algorithm).title
    note = first_lines(output, resolved, f"--preset, see nasreg describe {title}")
    uses_data = resolved.evaluator is None or "data" in resolved.evaluator.needs
    subject = resolved.spec.dataset if uses_data else resolved.spec.space
    with run_directory(out, f"{title}-{subject.title}") as directory, output.progress() as progress:
        boards = tensorboard_callbacks(directory) if tensorboard else []
        callbacks = [note, *progress, *boards]
        result = run_search(resolved, registry=registry, out=directory, callbacks=callbacks)
    report_search(output, result)


def tensorboard_callbacks(directory: Path) -> list[Callback]:
    """Return the callbacks that write TensorBoard files into a run; of several processes, only one has them."""
    from nasreg.runs import files
    from nasreg.runs.callbacks import TensorBoard
    from nasreg.runs.launch import is_first

    if not is_first():
        return []
    return [TensorBoard(directory / files.TENSORBOARD)]
