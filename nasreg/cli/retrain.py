"""The commands that train and measure the network of an architecture: ``retrain`` and ``evaluate``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nasreg.cli.run import short

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from nasreg.events import Callback
    from nasreg.retraining.api import RetrainResult
    from nasreg.retraining.repeats import RepeatedResult


def retrain(
    source: Annotated[
        str,
        typer.Argument(
            help="Run directory, architecture.json, name of a published genotype, or the text of one",
            show_default=False,
        ),
    ],
    space: Annotated[
        str | None, typer.Option(help="Search space of an architecture.json that is in no run. Default: darts")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Data set: a name, or folder:PATH. Default: that of the run, else digits")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Recipe: demo, cifar, cifar-pdarts, imagenet or imagenet-pdarts")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file in the form of a run.yaml, whole or in part")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set one option, such as space.channels=36; may be repeated"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything that is random")] = None,
    seeds: Annotated[
        str | None,
        typer.Option(metavar="N,N,...", help="Repeat with each of these seeds; report mean and standard deviation"),
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps. Default: auto")] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory to make. Default: a new one in runs/")] = None,
) -> None:
    """Train the network of an architecture from the start, and measure it on the test set."""
    from nasreg.registry import default_registry
    from nasreg.retraining.api import resolve, run

    registry = default_registry()
    numbers = _numbers(seeds) if seeds is not None else None
    spec, _ = resolve(
        registry,
        source,
        dataset,
        space=space,
        preset=preset,
        config=config,
        settings=set_ or [],
        seed=seed,
        device=device,
    )
    name = f"retrain-{spec.dataset.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    out = out or Path("runs") / name
    if numbers is None:
        with _progress() as progress:
            result = run(spec, registry=registry, out=out, callbacks=[progress])
        tell(result)
        return
    from nasreg.retraining.repeats import repeat

    with _progress() as progress:
        tell_repeats(repeat(spec, numbers, out, registry=registry, callbacks=[progress]))


def resume(run_dir: Path) -> None:
    """Go on with a retraining, or with a repeated one."""
    from nasreg.retraining import REPEATS, api

    with _progress() as progress:
        if (run_dir / REPEATS).is_file():
            from nasreg.retraining.repeats import resume_repeats

            tell_repeats(resume_repeats(run_dir, callbacks=[progress]))
        else:
            tell(api.resume(run_dir, callbacks=[progress]))


def tell(result: RetrainResult) -> None:
    """Say what came out of a retraining."""
    from nasreg.runs import RunDirectory

    assert result.run_dir is not None  # noqa: S101  # the commands always have one
    typer.echo(f"\ntest accuracy {result.metrics['test_accuracy']:.2%} after the last epoch")
    for name in ("last.safetensors", "best.safetensors"):
        typer.echo(f"wrote {short(result.run_dir / name)}")
    space = RunDirectory(result.run_dir).spec.space.name
    own = f" --space {space}" if ":" in space else ""  # no file alone decides which code is run
    typer.echo(f"next: nasreg evaluate {short(result.run_dir / 'last.safetensors')}{own}")


def tell_repeats(result: RepeatedResult) -> None:
    """Say what came out of a repeated one."""
    from nasreg.cli import render

    rows = [(f"seed {seed}", f"{value:.2%}") for seed, value in zip(result.seeds, result.accuracies, strict=True)]
    typer.echo()
    render.table("test accuracy after the last epoch", [*rows, ("mean", f"{result.mean:.2%} ± {result.std:.2%}")])
    typer.echo(f"wrote {short(result.run_dir / 'summary.json')}")


def evaluate(
    weights: Annotated[
        Path, typer.Argument(help="File of weights (.safetensors), or the run directory of a retraining")
    ],
    dataset: Annotated[
        str | None, typer.Option(help="Data set: a name, or folder:PATH. Default: that which it was trained on")
    ] = None,
    space: Annotated[
        str | None, typer.Option(help="package.module:factory, where the network is of a space of your own")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps")] = "auto",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set one option of the data set, such as dataset.root=FOLDER"),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a batch")] = 128,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a trained network on the test set of a data set."""
    from dataclasses import asdict

    from nasreg.cli import render
    from nasreg.layers import settings_layer
    from nasreg.retraining.evaluation import evaluate as measure

    options = settings_layer(set_ or [], ["dataset"]).values.get("dataset", {})
    scores = measure(weights, dataset, space=space, dataset_options=options, device=device, batch_size=batch_size)
    if as_json:
        typer.echo(json.dumps(asdict(scores), indent=2))
        return
    rows = [("top-1", f"{scores.accuracy:.2%}"), ("top-5", f"{scores.top5:.2%}"), ("loss", f"{scores.loss:.4f}")]
    render.table(f"{short(weights)} on {scores.images:,} test images", rows)


def _progress() -> AbstractContextManager[Callback]:
    from nasreg.progress import progress_for

    return progress_for(sys.stdout)


def _numbers(text: str) -> list[int]:
    from nasreg.errors import ConfigError

    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--seeds {text!r} is not right: expected numbers, such as 0,1,2") from error
