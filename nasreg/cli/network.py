"""The commands on the network of an architecture: ``profile`` and ``export``. Import no torch until one is used."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

if TYPE_CHECKING:
    from nasreg.networks import Source
    from nasreg.registry import Registry
    from nasreg.resolve import Parts
    from nasreg.shape import DataShape

SOURCE = "Run directory, architecture.json, name of a published genotype, or a genotype"

Space = Annotated[
    str | None, typer.Option(help="Space of an architecture.json by itself. Default: darts", show_default=False)
]
Dataset = Annotated[
    str | None,
    typer.Option(help="Data set whose images and classes it is for. Default: the run's", show_default=False),
]
Image = Annotated[
    str | None,
    typer.Option(metavar="CxHxW", help="Shape of the images instead. Default: 3x32x32", show_default=False),
]
Classes = Annotated[int | None, typer.Option(help="Number of classes instead. Default: 10", show_default=False)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set one option, such as space.cells=20; may be repeated"),
]


class FormatName(str, Enum):
    """What a network can be exported to."""

    pt2 = "pt2"
    onnx = "onnx"
    safetensors = "safetensors"


class _Asked(NamedTuple):
    registry: Registry
    source: Source | None
    parts: Parts
    shape: DataShape


def _asked(
    source: str | None,
    space: str | None,
    dataset: str | None,
    image: str | None,
    classes: int | None,
    settings: list[str] | None,
) -> _Asked:
    from nasreg.networks import find_source
    from nasreg.registry import default_registry
    from nasreg.resolve import resolve_parts
    from nasreg.shape import data_shape

    registry = default_registry()
    parts = resolve_parts(registry, space=space, dataset=dataset, settings=settings or [])
    found = find_source(source, space=parts.space, registry=registry) if source is not None else None
    shape = data_shape(
        found.run if found else None,
        dataset=parts.dataset,
        config=parts.dataset_config,
        image=image,
        classes=classes,
        registry=registry,
    )
    return _Asked(registry, found, parts, shape)


def profile(
    source: Annotated[
        str | None, typer.Argument(help=f"{SOURCE}; none for the table of a space", show_default=False)
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            help="Without SOURCE: the space to show what each candidate costs of. With it: as for export",
            show_default=False,
        ),
    ] = None,
    dataset: Dataset = None,
    image: Image = None,
    classes: Classes = None,
    set_: Set = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps")] = "cpu",
    batch: Annotated[
        int | None,
        typer.Option(help="Images in a batch. Default: 64; for the table of a space 1", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure what a network costs: parameters, multiply-accumulates, memory, latency; or each candidate of a space."""
    from nasreg.cli import render
    from nasreg.errors import UsageError

    asked = _asked(source, space, dataset, image, classes, set_)
    info, options = asked.shape.info, asked.parts.space_options
    size = {} if batch is None else {"batch_size": batch}
    if asked.source is not None:
        from nasreg.networks import build_network
        from nasreg.profile import profile_network

        network = build_network(asked.source, info, options, registry=asked.registry)
        found = profile_network(network, info, device=device, **size)
        if as_json:
            _print_json({"source": asked.source.title, **found.model_dump(mode="json")})
        else:
            render.profile(asked.source.title, found)
    elif asked.parts.space is not None:
        from nasreg.profile import candidate_costs, mean_costs

        costs = candidate_costs(asked.parts.space, info, options, device=device, registry=asked.registry, **size)
        if as_json:
            _print_json({key: [cost.model_dump(mode="json") for cost in each] for key, each in costs.items()})
        else:
            render.costs(mean_costs(costs))
    else:
        raise UsageError("give a SOURCE, or --space for what each candidate of a space costs")


def export(
    source: Annotated[str, typer.Argument(help=SOURCE)],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="File to write; its suffix says the format. Default: SOURCE.pt2", show_default=False
        ),
    ] = None,
    format_: Annotated[
        FormatName | None,
        typer.Option(
            "--format", help="pt2 (torch.export), onnx, or safetensors with a JSON file beside it", show_default=False
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="safetensors file with its weights. Default: those of the retraining, else new ones",
            show_default=False,
        ),
    ] = None,
    space: Space = None,
    dataset: Dataset = None,
    image: Image = None,
    classes: Classes = None,
    set_: Set = None,
) -> None:
    """Write a network to a file, and say how near what the file computes is to what torch does."""
    from nasreg.export import check_path, default_path, example_images, export_network
    from nasreg.networks import build_network
    from nasreg.retraining.trainer import LAST
    from nasreg.saved import load_weights, network_recipe

    asked = _asked(source, space, dataset, image, classes, set_)
    assert asked.source is not None  # noqa: S101  # it was given
    chosen = format_.value if format_ else None
    path = out or default_path(asked.source, chosen or "pt2")
    check_path(path, chosen)  # before any work
    options = asked.parts.space_options
    network = build_network(asked.source, asked.shape.info, options, registry=asked.registry)
    trained = asked.source.run.path / LAST if asked.source.run else None
    if weights is None and trained is not None and trained.is_file():
        weights = trained
    if weights is not None:
        load_weights(network, weights)
        typer.echo(f"weights of {weights}")
    else:
        typer.echo("nasreg: warning: the network has new weights: give trained ones with --weights", err=True)
    report = export_network(
        network,
        example_images(asked.shape.info),
        path,
        format=chosen,
        recipe=network_recipe(asked.source, asked.shape, options, registry=asked.registry),
        registry=asked.registry,
    )
    for file in report.files:
        typer.echo(f"wrote {file}")
    typer.echo(f"largest difference to torch: {report.absolute:.1e} absolute, {report.relative:.1e} relative")


def _print_json(data: Any) -> None:
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))
