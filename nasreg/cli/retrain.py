"""The commands that train and measure networks: ``retrain`` and ``evaluate``. Imports no torch until one is used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nasreg.cli import options
from nasreg.cli.output import Output
from nasreg.cli.paths import run_directory, short

if TYPE_CHECKING:
    from nasreg.engine.retrain import RetrainResult
    from nasreg.engine.runs import RepeatedResult


def retrain(
    source: options.Source,
    space: options.SourceSpace = None,
    dataset: options.SourceDataset = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Recipe; see: nasreg list recipes. Default: the one that the data set names, else cifar",
            show_default=False,
        ),
    ] = None,
    config: options.Config = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            help="Repeat with each of these seeds; report mean and standard deviation",
            show_default=False,
        ),
    ] = None,
    device: options.Device = None,
    out: options.Out = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train the network of an architecture from scratch, and measure it on the test set."""
    from nasreg.cli.results import first_lines, report_retrain, report_spec
    from nasreg.engine.retrain import resolve_retrain, run_retrain
    from nasreg.errors import UsageError
    from nasreg.registry import default_registry

    output = Output(as_json=as_json, quiet=quiet)
    if seed is not None and seeds is not None:
        raise UsageError("--seed and --seeds exclude each other: give one of them")
    registry = default_registry()
    numbers = _numbers(seeds) if seeds is not None else None
    resolved = resolve_retrain(
        registry,
        source,
        dataset,
        space=space,
        recipe=recipe,
        config=config,
        settings=set_ or [],
        seed=seed,
        device=device,
    )
    if dry_run:
        report_spec(output, resolved)
        return
    result: RetrainResult | RepeatedResult
    note = first_lines(output, resolved, "--recipe, see nasreg list recipes")
    with run_directory(out, f"retrain-{resolved.spec.dataset.title}") as directory, output.progress() as progress:
        callbacks = [note, *progress]
        if numbers is None:
            result = run_retrain(resolved, registry=registry, out=directory, callbacks=callbacks)
        else:
            from nasreg.engine.runs import repeat

            result = repeat(resolved, numbers, directory, registry=registry, callbacks=callbacks)
    report_retrain(output, result)


def evaluate(
    weights: Annotated[
        Path,
        typer.Argument(
            metavar="WEIGHTS",
            help="Weight file (.safetensors), or the run directory of a retraining",
            show_default=False,
        ),
    ],
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Data set: a name, or folder:PATH. Default: the one that it was trained on", show_default=False
        ),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            help="package.module:name or folder/file.py:name, if the network is of your own space and the file is in"
            " no run directory",
            show_default=False,
        ),
    ] = None,
    device: options.MeasureDevice = "auto",
    set_: Annotated[
        list[str] | None, options.settings("Set one option of the data set, such as dataset.root=FOLDER")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples in a batch")] = 128,
    as_json: options.Json = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print the number alone, such as 0.9722 for an accuracy.")
    ] = False,
) -> None:
    """Measure a trained network on the test set of a data set."""
    from nasreg.config.layers import settings_layer
    from nasreg.engine.evaluate import evaluate as measure
    from nasreg.specs.metrics import metric_spec

    output = Output(as_json=as_json, quiet=quiet)
    given = settings_layer(set_ or [], ["dataset"]).values.get("dataset", {})
    found = measure(weights, dataset, space=space, dataset_options=given, device=device, batch_size=batch_size)

    def text() -> None:
        rows = [(metric_spec(name).title, metric_spec(name).format(value)) for name, value in found.metrics.items()]
        output.table(f"{short(weights)} on {found.samples:,} test samples", rows)

    output.result(lambda: {**found.metrics, "samples": found.samples}, text, [found.metrics[found.objective]])


def _numbers(text: str) -> list[int]:
    from nasreg.errors import ConfigError

    try:
        return [int(number) for number in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--seeds {text!r} is invalid: expected numbers, such as 0,1,2") from error
