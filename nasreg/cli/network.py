"""The commands on the network of an architecture: ``profile`` and ``export``. Import no torch until one is used."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from nasreg.cli import options
from nasreg.cli.output import Output

if TYPE_CHECKING:
    from nasreg.config.resolve import SpaceAndDataset
    from nasreg.networks.inputs import InputSpec
    from nasreg.networks.references import ArchitectureRef
    from nasreg.registry import Registry


class FormatName(str, Enum):
    """Formats of exported networks."""

    pt2 = "pt2"
    onnx = "onnx"
    safetensors = "safetensors"


class _Subject(NamedTuple):
    registry: Registry
    source: ArchitectureRef | None
    chosen: SpaceAndDataset
    input: InputSpec


def _resolve(
    source: str | None,
    space: str | None,
    dataset: str | None,
    image: str | None,
    classes: int | None,
    settings: list[str] | None,
) -> _Subject:
    from nasreg.config.resolve import resolve_space_and_dataset
    from nasreg.networks.inputs import input_spec
    from nasreg.networks.references import find_architecture
    from nasreg.registry import default_registry

    registry = default_registry()
    chosen = resolve_space_and_dataset(registry, space=space, dataset=dataset, settings=settings or [])
    found = find_architecture(source, space=chosen.space, registry=registry) if source is not None else None
    shape = input_spec(
        found.run if found else None,
        dataset=chosen.dataset,
        config=chosen.dataset_config,
        image=image,
        classes=classes,
    )
    return _Subject(registry, found, chosen, shape)


def profile(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[SOURCE]", help=f"{options.SOURCE_HELP}; none for the table of a space", show_default=False
        ),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            help="Without SOURCE: the space whose candidates are measured. With SOURCE: the space of an architecture"
            " that is in no run",
            show_default=False,
        ),
    ] = None,
    dataset: options.SourceDataset = None,
    image: options.Image = None,
    classes: options.Classes = None,
    set_: options.NetworkSet = None,
    device: options.MeasureDevice = "cpu",
    batch: Annotated[
        int | None,
        typer.Option(help="Images in a batch. Default: 64; for the table of a space 1", show_default=False),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Measure the cost of a network: parameters, MACs, memory, latency.

    Without SOURCE and with --space: the cost of each candidate of a search space. MACs are multiply-accumulates.
    """
    from nasreg.cli import render
    from nasreg.errors import UsageError

    output = Output(as_json=as_json)
    subject = _resolve(source, space, dataset, image, classes, set_)
    info, given = subject.input.info, subject.chosen.space_options
    size = {} if batch is None else {"batch_size": batch}
    if subject.source is not None:
        from nasreg.networks.build import build_network
        from nasreg.networks.profile import profile_network

        title = subject.source.title
        found = profile_network(build_network(subject.source, info, given), info, device=device, **size)
        output.result(
            lambda: {"source": title, **found.model_dump(mode="json")}, lambda: render.profile(output, title, found)
        )
    elif subject.chosen.space is not None:
        from nasreg.networks.profile import candidate_costs, mean_costs

        costs = candidate_costs(subject.chosen.space, info, given, device=device, registry=subject.registry, **size)
        output.result(
            lambda: {key: [cost.model_dump(mode="json") for cost in each] for key, each in costs.items()},
            lambda: render.costs(output, mean_costs(costs)),
        )
    else:
        raise UsageError("give a SOURCE, or --space for the cost of each candidate of a space")


def export(
    source: options.Source,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="File to write; its suffix is the format. Default: SOURCE.pt2", show_default=False
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
    space: options.SourceSpace = None,
    dataset: options.SourceDataset = None,
    image: options.Image = None,
    classes: options.Classes = None,
    set_: options.NetworkSet = None,
    as_json: options.Json = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only the names of the files that are written.")
    ] = False,
) -> None:
    """Write a network to a file for torch.export, ONNX or safetensors.

    The file is loaded again, and its output is compared with that of torch.
    """
    from nasreg.networks.build import build_network
    from nasreg.networks.export import check_path, default_path, example_images, export_network
    from nasreg.networks.weights import load_weights, network_manifest
    from nasreg.runs import files

    output = Output(as_json=as_json, quiet=quiet)
    subject = _resolve(source, space, dataset, image, classes, set_)
    if subject.source is None:
        raise TypeError("export has a source")
    chosen = format_.value if format_ else None
    path = out or default_path(subject.source, chosen or "pt2")
    check_path(path, chosen)  # before any work
    given = subject.chosen.space_options
    network = build_network(subject.source, subject.input.info, given)
    trained = subject.source.run.path / files.LAST_WEIGHTS if subject.source.run else None
    if weights is None and trained is not None and trained.is_file():
        weights = trained
    if weights is not None:
        load_weights(network, weights)
    else:
        output.warning("the network has new weights: give trained ones with --weights")
    report = export_network(
        network,
        example_images(subject.input.info),
        path,
        format=chosen,
        manifest=network_manifest(subject.source, subject.input, given),
        registry=subject.registry,
    )

    def data() -> object:
        return {**report.model_dump(mode="json"), "weights": str(weights) if weights else None}

    def text() -> None:
        if weights is not None:
            output.line(f"weights of {weights}")
        for file in report.files:
            output.line(f"wrote {file}")
        output.line(f"largest difference to torch: {report.absolute:.1e} absolute, {report.relative:.1e} relative")

    output.result(data, text, report.files)
