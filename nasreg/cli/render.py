"""How look-ups are shown to people: aligned columns, coloured and folded on a terminal, plain in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from nasreg.discovery import KINDS, SLOW, PluginRecord

if TYPE_CHECKING:
    from nasreg.profile import MeanCost, NetworkProfile

_PRESET_PARTS = ("seed", "mutator", "trainer", "spaces", "dataset")


def table(title: str, rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows under a title, the columns aligned."""
    if sys.stdout.isatty():
        _rich_table(title, rows)
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    typer.echo(title)
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo(f"  {'  '.join(cells)}".rstrip())


def _rich_table(title: str, rows: Sequence[tuple[str, ...]]) -> None:
    # rich costs a quarter of the start-up time, and in a pipe it would fold lines at 80 columns
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    last = len(rows[0]) - 1
    for number in range(last + 1):
        grid.add_column(style="cyan" if number == 0 else "", overflow="fold", ratio=1 if number == last else None)
    for row in rows:
        grid.add_row(*map(Text, row))
    console = Console(highlight=False)
    console.print(Text(title, style="bold"))
    console.print(Padding(grid, (0, 0, 0, 2)))


def description(kind: str, described: dict[str, Any]) -> None:
    """Print what ``Registry.describe`` returns of one kind."""
    facts = [
        (label, str(text))
        for label, text in (
            ("summary", described["summary"]),
            ("paper", described.get("paper")),
            ("family", described.get("family")),
            ("handles", ", ".join(described.get("primitives", ()))),
            ("space", described.get("default_space") or described.get("space")),
            ("genotype", described.get("genotype")),
            ("preset", described.get("default_preset")),
            ("from", f"{described['distribution']} {described['version']}"),
        )
        if text
    ]
    table(f"{kind} {described['name']}", facts)
    for name, preset in described.get("presets", {}).items():
        options = [(part, preset[part]) for part in _PRESET_PARTS if preset[part] not in (None, {})]
        lines = [row for part, value in options for row in _settings(part, value)]
        table(f"preset {name}: {preset['summary']}", lines or [("(defaults)", "")])
    if "options" in described:
        _options(kind, described["options"])
    elif "mutator" in described:
        _options("mutator", described["mutator"]["options"])
        _options("trainer", described["trainer"]["options"])


def _settings(path: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict) and value:
        return [row for key, inner in value.items() for row in _settings(f"{path}.{key}", inner)]
    return [(path, _value(value))]


def _options(section: str, options: list[dict[str, Any]]) -> None:
    rows = [
        (
            f"{section}.{option['name']}",
            "required" if option["required"] else _value(option["default"]),
            ", ".join([option["type"], *option["constraints"]]),
            option["description"],
        )
        for option in options
    ]
    table(f"options of the {section}", rows or [("(none)", "", "", "")])


def _value(value: Any) -> str:
    """Write a value as ``--set`` takes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"[{', '.join(map(_value, value))}]" if isinstance(value, list) else str(value)


def plugins(records: Sequence[PluginRecord], problems: Mapping[str, Sequence[str]], with_traceback: bool) -> None:
    """Print what became of each plugin.

    Args:
        records: The plugins.
        problems: ``PluginRecord.origin`` -> what else was found wrong with it.
        with_traceback: Whether to print the traceback of each failed one.
    """
    titles = [f"{record.distribution or ''} {record.version or ''}" for record in records]
    rows = [(each.name, title, each.status, _outcome(each)) for each, title in zip(records, titles, strict=True)]
    table("plugins", rows)
    for record in records:
        found = [*record.clashes, *(each for each in problems.get(record.origin, ()) if each != record.error)]
        for problem in dict.fromkeys(found):
            typer.echo(f"{record.origin}: {problem}")
        if record.status == "failed":
            where = f" ({record.file})" if record.file else ""
            typer.echo(f"{record.origin}{where} is left out; silence it with NASREG_DISABLE={record.name}")
        if with_traceback and record.traceback:
            typer.echo(f"\n{record.traceback}")
    if not with_traceback and any(record.traceback for record in records):
        typer.echo("see where it failed with: nasreg plugins --traceback")


def _outcome(record: PluginRecord) -> str:
    if record.error:
        return record.error
    provided = {f"{kind}s": getattr(record, f"{kind}s") for kind in KINDS}
    parts = [f"{kind}: {_some(names)}" for kind, names in provided.items() if names]
    if record.seconds >= SLOW:
        parts.append(f"slow: it took {record.seconds:.1f} s to load")
    return "; ".join(parts)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def trials(records: Sequence[Mapping[str, Any]]) -> None:
    """Print the trials of a multi-trial search, the best first; see ``nasreg.callbacks.record``."""
    rows = [("trial", "score", "weights", "seconds")]
    for each in sorted(records, key=lambda record: -record["score"]):
        numbers = f"{each['score']:.1%}", f"{each['parameters']:,}", f"{each['seconds']:.1f}"
        rows.append((str(each["trial"]), *numbers))
    table("trials, the best first", rows)


def profile(title: str, found: NetworkProfile) -> None:
    """Print what a network costs."""
    image = "x".join(map(str, found.image))
    on_cpu = f" with {found.threads} threads" if found.threads > 1 else " with 1 thread"
    rows = [
        ("parameters", f"{found.parameters:,}"),
        ("MACs", f"{found.macs:,} for one image"),
        ("activations", f"{found.activation_bytes / 2**20:,.1f} MiB to train on a batch of {found.batch_size}"),
    ]
    rows += [
        (
            "latency",
            f"{each.median_ms:,.3f} ms for {each.batch_size} image{'s' if each.batch_size > 1 else ''}"
            f" (median of {each.rounds} rounds, interquartile range {each.spread_ms:,.3f} ms)",
        )
        for each in found.latency
    ]
    table(f"{title} on images of {image}, on {found.device}{on_cpu if found.device == 'cpu' else ''}", rows)


def costs(means: Mapping[str, Mapping[str, MeanCost]]) -> None:
    """Print what each candidate of a space costs on average, a table for each choice."""
    for key, candidates in means.items():
        rows = [("candidate", "places", "parameters", "MACs", "latency")]
        rows += [
            (name, str(mean.places), f"{mean.parameters:,.0f}", f"{mean.macs:,.0f}", f"{mean.latency_ms:.3f} ms")
            for name, mean in candidates.items()
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table(f"{key}: means", [(row[0], *map(str.rjust, row[1:], widths[1:])) for row in rows])
