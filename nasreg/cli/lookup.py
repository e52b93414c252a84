"""The commands that look things up: ``list``, ``describe`` and ``plugins``. They import no torch and run nothing."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from nasreg.cli import options
from nasreg.cli.output import Output

if TYPE_CHECKING:
    from nasreg.registry import Registry
    from nasreg.specs.entries import Kind


class KindName(StrEnum):
    """The kinds of entries that can be described."""

    algorithm = "algorithm"
    space = "space"
    dataset = "dataset"
    evaluator = "evaluator"
    executor = "executor"
    genotype = "genotype"
    recipe = "recipe"


class FamilyName(StrEnum):
    """The families of algorithms."""

    one_shot = "one-shot"
    multi_trial = "multi-trial"


LISTS: dict[str, Kind] = {
    "algorithms": "algorithm",
    "spaces": "space",
    "datasets": "dataset",
    "evaluators": "evaluator",
    "executors": "executor",
    "genotypes": "genotype",
    "recipes": "recipe",
}
"""The lists, and the kind of their entries."""


def list_(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]", help=f"What to list: {', '.join(LISTS)}. Default: everything", show_default=False
        ),
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Argument(
            metavar="[PATTERN]",
            help="Only names that match it, such as 'pc*'; KIND may be left out",
            show_default=False,
        ),
    ] = None,
    family: Annotated[FamilyName | None, typer.Option(help="Only algorithms of this family.")] = None,
    as_json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the names only, one to a line.")] = False,
) -> None:
    """List what is installed: algorithms, spaces, data sets, genotypes, recipes."""
    from nasreg.registry import default_registry

    wanted, pattern = _wanted(kind, pattern, family)
    registry = default_registry()
    groups = {}
    for title in wanted:
        names = registry.names(LISTS[title], pattern)
        if family:
            names = [name for name in names if registry.algorithm(name).family == family.value]
        groups[title] = {name: registry.entry(LISTS[title], name).summary for name in names}
    output = Output(as_json=as_json, quiet=quiet)

    def text() -> None:
        for title, entries in groups.items():
            if entries or not (pattern or family):
                output.table(title, [_row(registry, title, *each) for each in entries.items()] or [("(none)", "")])

    output.result(lambda: groups, text, list(dict.fromkeys(name for names in groups.values() for name in names)))
    if not any(groups.values()) and (pattern or family):
        output.hint("nothing installed matches")
    for record in registry.plugins():
        if record.status == "failed" or record.clashes:
            output.warning(f"{record.origin} has a problem; see: nasreg plugins")


def _row(registry: Registry, title: str, name: str, summary: str) -> tuple[str, ...]:
    """Return the row of an entry: of an algorithm also its family and its package."""
    if title != "algorithms":
        return name, summary
    package = registry.qualified("algorithm", name).rpartition("/")[0]
    return name, registry.algorithm(name).family, package, summary


def _wanted(kind: str | None, pattern: str | None, family: FamilyName | None) -> tuple[list[str], str | None]:
    """Return the lists and the pattern: a single argument may be either."""
    from nasreg.errors import UsageError, did_you_mean

    if kind is not None and kind not in LISTS:
        if pattern is not None or not set(kind) & set("*?["):
            hint = did_you_mean(kind, LISTS)
            raise UsageError(f"there is no kind {kind!r} to list.{hint} A pattern of names has a wildcard: '{kind}*'")
        kind, pattern = None, kind
    if family is not None and kind not in (None, "algorithms"):
        raise UsageError(f"--family is for algorithms, not for {kind}")
    if kind is None:
        return ["algorithms"] if family else list(LISTS), pattern
    return [kind], pattern


def describe(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Name of an algorithm, space, data set, evaluator, executor, genotype or recipe, or DISTRIBUTION/NAME",
            show_default=False,
        ),
    ],
    kind: Annotated[
        KindName | None, typer.Option(help="Only this kind, where entries of several kinds have the name.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Describe an entry: its paper, presets and options."""
    from nasreg.cli import render
    from nasreg.registry import default_registry

    described = default_registry().describe(name, kind.value if kind else None)
    output = Output(as_json=as_json)

    def text() -> None:
        for each, description in described.items():
            render.description(output, each, description)

    output.result(lambda: described, text)


def plugins(
    check: Annotated[
        bool, typer.Option("--check", help="Import all that the plugins name, too; exit with 1 if anything is wrong.")
    ] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show the traceback of each failed plugin.")] = False,
    as_json: options.Json = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only the names of the plugins that have a problem.")
    ] = False,
) -> None:
    """List the installed plugins, what each provides, and what failed."""
    from dataclasses import asdict

    from nasreg.cli import render
    from nasreg.registry import default_registry

    registry = default_registry()
    records = registry.plugins()
    problems = registry.check() if check else {}
    output = Output(as_json=as_json, quiet=quiet)
    failed = [each.name for each in records if each.status == "failed" or each.clashes or problems.get(each.origin)]
    output.result(
        lambda: [{**asdict(record), "problems": problems.get(record.origin, [])} for record in records],
        lambda: render.plugins(output, records, problems, traceback),
        failed,
    )
    if problems:
        raise typer.Exit(1)
