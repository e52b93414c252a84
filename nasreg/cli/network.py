"""The commands on the network of an architecture: ``profile`` and ``export``. Import no torch until one is used."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from nasreg.cli import options
from nasreg.cli.output import Output
from nasreg.specs.formatting import format_plain

if TYPE_CHECKING:
    from nasreg.config.resolve import SpaceAndDataset
    from nasreg.networks.inputs import InputSpec
    from nasreg.networks.references import ArchitectureRef
    from nasreg.registry import Registry


class FormatName(StrEnum):
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
    if found is not None:
        found.space.check_network()
    shape = input_spec(
        found.run if found else None,
        dataset=chosen.dataset,
        config=chosen.dataset_config,
        image=image,
        classes=classes,
    )
    return _Subject(registry, found, chosen, shape)


_BudgetText = Annotated[
    str | None,
    typer.Option(
        metavar="N|P%",
        help="With --space: a budget, as a number or as a share of the largest architecture",
        show_default=False,
    ),
]


def profile(
    source: Annotated[
        str | None,
        typer.Argument(metavar="[SOURCE]", help=f"{options.SOURCE_HELP}; none for a space", show_default=False),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            help="Without SOURCE: the space to measure (a name, package.module:name or folder/file.py:name). With"
            " SOURCE: the space of an architecture that is in no run",
            show_default=False,
        ),
    ] = None,
    candidates: Annotated[
        bool, typer.Option("--candidates", help="With --space: measure each candidate of the space instead.")
    ] = False,
    blocks: Annotated[
        bool,
        typer.Option(
            "--blocks",
            help="With --space: measure each block of the supernet once, as a one-shot search with a budget does, and"
            " compare what the blocks predict with measurements of whole networks.",
        ),
    ] = False,
    max_parameters: _BudgetText = None,
    max_macs: _BudgetText = None,
    max_latency_ms: _BudgetText = None,
    dataset: options.SourceDataset = None,
    image: options.Image = None,
    classes: options.Classes = None,
    set_: options.NetworkSet = None,
    device: options.MeasureDevice = "cpu",
    batch: Annotated[
        int | None,
        typer.Option(help="Images in a batch. Default: 64; 1 with --candidates or --blocks", show_default=False),
    ] = None,
    as_json: options.Json = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            help="Print only numbers of parameters: of the network; of the smallest, the middle and the largest"
            " architecture; with --candidates the mean of each candidate; with --blocks those predicted for some random"
            " architectures.",
        ),
    ] = False,
) -> None:
    """Measure the cost of a network or of a search space: parameters, MACs, memory, latency.

    Without SOURCE and with --space: what the smallest, the middle and the largest architecture of the space cost, and
    which share of random architectures meets a budget. MACs are multiply-accumulates.
    """
    from nasreg.cli import render
    from nasreg.errors import UsageError

    output = Output(as_json=as_json, quiet=quiet)
    given = {"max_parameters": max_parameters, "max_macs": max_macs, "max_latency_ms": max_latency_ms}
    budgets = {name: _number(text) for name, text in given.items() if text is not None}
    for name in budgets:
        if source is not None or candidates or blocks:
            other = "SOURCE" if source is not None else "--candidates" if candidates else "--blocks"
            raise UsageError(
                f"--{name.replace('_', '-')} is a budget of the architectures of a space: give it with --space and"
                f" without {other}"
            )
    if (candidates or blocks) and source is not None:
        raise UsageError(
            f"{'--candidates' if candidates else '--blocks'} measures those of a space: give --space, and no SOURCE"
        )
    if candidates and blocks:
        raise UsageError("--candidates and --blocks measure the same in two ways: give one of them")
    subject = _resolve(source, space, dataset, image, classes, set_)
    info, values = subject.input.info, subject.chosen.space_options
    size = {} if batch is None else {"batch_size": batch}
    if subject.source is not None:
        from nasreg.networks.build import build_network
        from nasreg.networks.profile import profile_network

        title = subject.source.title
        network = profile_network(build_network(subject.source, info, values), info, device=device, **size)
        output.result(
            lambda: {"source": title, **network.model_dump(mode="json")},
            lambda: render.profile(output, title, network),
            [network.parameters],
        )
    elif subject.chosen.space is None:
        raise UsageError("give a SOURCE, or --space for the cost of the architectures of a space")
    elif candidates:
        from nasreg.networks.profile import candidate_costs, mean_costs

        costs = candidate_costs(subject.chosen.space, info, values, device=device, registry=subject.registry, **size)
        means = mean_costs(costs)
        output.result(
            lambda: {key: [cost.model_dump(mode="json") for cost in each] for key, each in costs.items()},
            lambda: render.costs(output, means),
            [format_plain(mean.parameters) for each in means.values() for mean in each.values()],
        )
    elif blocks:
        from nasreg.networks.block_profile import profile_blocks

        measured = profile_blocks(subject.chosen.space, info, values, device=device, registry=subject.registry, **size)
        output.result(
            lambda: measured.model_dump(mode="json"),
            lambda: render.block_profile(output, measured),
            [format_plain(each.predicted["parameters"]) for each in measured.predictions],
        )
    else:
        from nasreg.networks.costs import profile_space

        if batch is not None:
            raise UsageError("--batch has no meaning for the architectures of a space: their latency is of one image")
        found = profile_space(
            subject.chosen.space,
            info,
            values,
            max_parameters=budgets.get("max_parameters"),
            max_macs=budgets.get("max_macs"),
            max_latency_ms=budgets.get("max_latency_ms"),
            device=device,
            registry=subject.registry,
        )
        output.result(
            lambda: found.model_dump(mode="json"),
            lambda: render.space_profile(output, found),
            [each.parameters for each in (found.smallest, found.middle, found.largest)],
        )


def _number(text: str) -> float | str:
    """Return a number as such, and any other text as it is: a share, or something to refuse."""
    try:
        return float(text)
    except ValueError:
        return text


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
