"""The commands that look things up: ``list``, ``describe`` and ``plugins``. They import no torch and run nothing."""

from __future__ import annotations

import json
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from nasreg.specs.algorithm import AlgorithmSpec, DatasetEntry, GenotypeEntry, SpaceEntry

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class KindName(str, Enum):
    """What can be described."""

    algorithm = "algorithm"
    space = "space"
    dataset = "dataset"
    genotype = "genotype"


class KindNames(str, Enum):
    """What can be listed."""

    algorithms = "algorithms"
    spaces = "spaces"
    datasets = "datasets"
    genotypes = "genotypes"


def list_(
    kind: Annotated[
        KindNames | None, typer.Argument(help="What to list; everything by default.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """List the algorithms, search spaces, data sets and published genotypes, each with one line about it."""
    from nasreg.cli import render
    from nasreg.registry import default_registry

    registry = default_registry()
    groups: dict[KindNames, list[AlgorithmSpec | SpaceEntry | DatasetEntry | GenotypeEntry]] = {
        KindNames.algorithms: [registry.algorithm(name) for name in registry.algorithms()],
        KindNames.spaces: [registry.space(name) for name in registry.spaces()],
        KindNames.datasets: [registry.dataset(name) for name in registry.datasets()],
        KindNames.genotypes: [registry.genotype(name) for name in registry.genotypes()],
    }
    wanted = {key.value: {entry.name: entry.summary for entry in groups[key]} for key in groups if kind in (None, key)}
    if as_json:
        _print_json(wanted)
        return
    for title, entries in wanted.items():
        render.table(title, list(entries.items()) or [("(none)", "")])
    for record in registry.plugins():
        if record.status == "failed" or record.clashes:
            typer.echo(f"{record.origin} has a problem; see: nasreg plugins", err=True)


def describe(
    name: Annotated[
        str, typer.Argument(help="Name of an algorithm, search space, data set or genotype.", show_default=False)
    ],
    kind: Annotated[KindName | None, typer.Option(help="Only this kind, where a name stands for several.")] = None,
    as_json: Json = False,
) -> None:
    """Describe a name: paper, presets, and every option with its type, default and meaning."""
    from nasreg.cli import render
    from nasreg.registry import default_registry

    described = default_registry().describe(name, kind.value if kind else None)
    if as_json:
        _print_json(described)
        return
    for each, description in described.items():
        render.description(each, description)


def plugins(
    check: Annotated[
        bool, typer.Option("--check", help="Import all that the plugins name, too; exit with 1 if anything is wrong.")
    ] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show the traceback of each failed plugin.")] = False,
    as_json: Json = False,
) -> None:
    """List the plugins found: distribution, version, what each provides, and what failed and why."""
    from dataclasses import asdict

    from nasreg.cli import render
    from nasreg.registry import default_registry

    registry = default_registry()
    records = registry.plugins()
    problems = registry.check() if check else {}
    if as_json:
        _print_json([{**asdict(record), "problems": problems.get(record.origin, [])} for record in records])
    else:
        render.plugins(records, problems, traceback)
    if problems:
        raise typer.Exit(1)


def _print_json(data: Any) -> None:
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))
