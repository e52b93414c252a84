"""Writes docs/reference.md, docs/schemas and README's table from the code: ``python docs/make_reference.py``.

A test compares them. Results in the table are those that ``benchmarks/algorithms.py`` recorded.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from nasreg import errors, events, hookspecs
from nasreg.cli import build_app
from nasreg.registry import CORE, Registry
from nasreg.specs.entries import Kind
from nasreg.specs.formatting import format_duration
from nasreg.specs.schema import SCHEMAS, json_schema

DOCS = Path(__file__).parent
OURS = {CORE, *(f"nasreg-{folder.name}" for folder in (DOCS.parent / "plugins").iterdir())}


def files() -> dict[str, str]:
    """Return the text of each file, by its path below ``docs``."""
    made = {"reference.md": "\n".join(_reference())}
    for name in SCHEMAS:
        made[f"schemas/{name}.json"] = json.dumps(json_schema(name), indent=2) + "\n"
    return made


ALGORITHMS = re.compile(r"(<!-- algorithms: begin -->\n).*?(<!-- algorithms: end -->)", re.DOTALL)


def readme() -> str:
    """Return README.md with the table of the algorithms."""
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    return ALGORITHMS.sub(lambda found: f"{found[1]}{_algorithms()}{found[2]}", text)


def _algorithms() -> str:
    """Return the table: each algorithm, its paper, package, and what its command found."""
    registry, records = Registry(), json.loads((DOCS / "algorithms.json").read_text(encoding="utf-8"))
    rows = ["| algorithm | paper | family | package | result | CPU time | command |", "|---|---|---|---|---|---|---|"]
    for name in registry.names("algorithm"):
        described = registry.describe(name, "algorithm")["algorithm"]
        if described["distribution"] not in OURS:
            continue
        address = re.search(r"https://arxiv.org/abs/(\S+)", described["paper"] or "")
        paper = f"[{address[1]}]({address[0]})" if address else ""
        cells = [f"`{name}`", paper, described["family"], f"`{described['distribution']}`"]
        rows.append(f"| {' | '.join([*cells, *_result(name, records.get(name))])} |")
    return "\n".join(rows) + "\n"


def _result(name: str, record: dict[str, Any] | None) -> tuple[str, str, str]:
    if record is None:
        return "not measured yet", "", f"`nasreg run {name}`"
    measured = f"{record['mean']:.2%} ± {record['standard_error']:.2%}"
    return (
        f"{record['metric']} {measured} ({record['seeds']} seeds)",
        format_duration(record["cpu_seconds"]),
        f"`{record['command']}`",
    )


def _is_event(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, events.Event)


def _reference() -> Iterator[str]:
    yield "# Reference\n\nMade from the code by `docs/make_reference.py`.\n\n## Commands\n"
    group: Any = typer.main.get_command(build_app())
    yield from _parameters(group)
    for name, command in group.commands.items():
        arguments = "".join(f" {parameter.name.upper()}" for parameter in _of_kind(command, "argument"))
        yield f"### nasreg {name}{arguments}\n\n{command.help}\n"
        yield from _parameters(command)
    registry = Registry()
    kinds: dict[Kind, str] = {
        "algorithm": "Algorithms",
        "space": "Search spaces",
        "dataset": "Data sets",
        "executor": "Executors",
    }
    for kind, title in kinds.items():
        yield f"## {title}\n"
        for name in registry.names(kind):
            described = registry.describe(name, kind)[kind]
            if described["distribution"] in OURS:
                yield from _entry(described)
    others: dict[Kind, str] = {"recipe": "Recipes", "genotype": "Published genotypes"}
    for kind, title in others.items():
        yield f"## {title}\n"
        for name in registry.names(kind):
            described = registry.describe(name, kind)[kind]
            if described["distribution"] in OURS:
                yield f"- `{name}` ({described['distribution']}): {described['summary']}"
        yield ""
    yield "## Hooks\n\nA plugin module may define these functions, marked with `@nasreg.hookspecs.hookimpl`.\n"
    for name, hook in inspect.getmembers(hookspecs, inspect.isfunction):
        if name.startswith("nasreg_"):
            returned = inspect.signature(hook).return_annotation
            yield f"- `{name}() -> {returned}`: {_doc(hook)}"
    yield "\n## Events\n\nA callback is called with each of these (`nasreg.events`)."
    yield "Epochs, steps, stages and trials count from 1.\n"
    for name, event in inspect.getmembers(events, _is_event):
        fields = ", ".join(f"`{field.name}`" for field in dataclasses.fields(event))
        yield f"- `{name}`({fields}): {_doc(event)}"
    yield "\n## Errors\n\nOf `nasreg.errors`, with the exit code of the command line.\n"
    for name, error in inspect.getmembers(errors, inspect.isclass):
        if not issubclass(error, errors.NasregError):
            continue
        bases = ", ".join(base.__name__ for base in error.__bases__)
        yield f"- `{name}`({bases}), {error.exit_code}: {_doc(error)}"
    yield ""


def _of_kind(command: Any, kind: str) -> list[Any]:
    return [parameter for parameter in command.params if parameter.param_type_name == kind]


def _parameters(command: Any) -> Iterator[str]:
    """List them ourselves: the text of ``--help`` differs between versions of typer."""
    for parameter in _of_kind(command, "argument"):
        yield f"- `{parameter.name.upper()}`: {parameter.help}"
    for parameter in _of_kind(command, "option"):
        value = "" if parameter.is_flag else f" {parameter.metavar or parameter.name.strip('_').upper()}"
        yield f"- `{', '.join(parameter.opts)}{value}`: {parameter.help}"
    yield ""


def _entry(described: dict[str, Any]) -> Iterator[str]:
    yield f"### {described['name']}\n\n{described['summary'][0].upper() + described['summary'][1:]}."
    if described.get("paper"):
        yield f"{described['paper']}"
    yield ""
    for field in ("requires", "splits", "capabilities"):
        if described.get(field):
            yield f"- {field}: {', '.join(f'`{name}`' for name in described[field])}"
    for name, preset in described.get("presets", {}).items():
        default = " (default)" if name == described["default_preset"] else ""
        yield f"- preset `{name}`{default}: {preset['summary']}"
    sections = (
        {"": described["options"]}
        if "options" in described
        else {f"{part}.": described[part]["options"] for part in ("mutator", "trainer")}
    )
    yield "\n| option | type | default | meaning |\n|---|---|---|---|"
    for prefix, options in sections.items():
        for option in options:
            default = "required" if option["required"] else f"`{json.dumps(option['default'])}`"
            kind = ", ".join([option["type"], *option["constraints"]]).replace("|", "\\|")
            yield f"| `{prefix}{option['name']}` | {kind} | {default} | {option['description']} |"
    yield ""


def _doc(thing: Any) -> str:
    return " ".join((inspect.getdoc(thing) or "").split())


if __name__ == "__main__":
    for name, text in files().items():
        (DOCS / name).parent.mkdir(exist_ok=True)
        (DOCS / name).write_text(text, encoding="utf-8")
    table = readme()
    (DOCS.parent / "README.md").write_text(table, encoding="utf-8")
