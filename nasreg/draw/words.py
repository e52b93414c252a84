"""An architecture in words, and the names of its parts."""

from __future__ import annotations

from typing import cast

from nasreg.specs.architecture import Architecture, CellDecision, Decision
from nasreg.specs.space import CellSpec, SearchSpaceSpec


def describe_architecture(space: SearchSpaceSpec, architecture: Architecture) -> str:
    """Return an architecture in words, several lines.

    Args:
        space: The space of the architecture.
        architecture: What to describe.

    Returns:
        For a cell ``node 0 = sep_conv_3x3(input 0) + skip_connect(input 1)`` and so on, for other choices
        ``key = chosen``.

    Raises:
        ArchitectureError: It is not one of the space.
    """
    space.validate(architecture)
    blocks = [
        [f"{cell_title(cell)}", *(f"  {line}" for line in _cell_lines(cell, decision))]
        for cell, decision in cells(space, architecture)
    ]
    rows = choice_rows(space, architecture)
    width = max((len(key) for key, _ in rows), default=0)
    blocks.append([f"{key:<{width}} = {chosen}" for key, chosen in rows])
    return "\n\n".join("\n".join(block) for block in blocks if block)


def cells(space: SearchSpaceSpec, architecture: Architecture) -> list[tuple[CellSpec, CellDecision]]:
    """Return each cell with its decision."""
    return [
        (choice, cast("CellDecision", architecture.decisions[choice.key]))
        for choice in space.choices
        if isinstance(choice, CellSpec)
    ]


def choice_rows(space: SearchSpaceSpec, architecture: Architecture) -> list[tuple[str, str]]:
    """Return key and decision of each choice that is no cell."""
    keys = [choice.key for choice in space.choices if not isinstance(choice, CellSpec)]
    return [(key, _chosen(architecture.decisions[key])) for key in keys]


def _chosen(decision: Decision) -> str:
    return decision if isinstance(decision, str) else ", ".join(map(str, decision)) or "(nothing)"


def cell_title(cell: CellSpec) -> str:
    """Return what to call a cell."""
    kind, usual = ("reduction cell", "reduce") if cell.reduction else ("normal cell", "normal")
    return kind if cell.key == usual else f"{kind} {cell.key}"


def state_name(cell: CellSpec, state: int) -> str:
    """Return what to call a state of a cell."""
    return f"input {state}" if state < cell.inputs else f"node {state - cell.inputs}"


def _cell_lines(cell: CellSpec, decision: CellDecision) -> list[str]:
    terms = [[f"{name}({state_name(cell, source)})" for name, source in kept] for kept in decision]
    widths = [max(len(row[n]) for row in terms if n < len(row)) for n in range(max(map(len, terms)))]
    lines = [
        (
            state_name(cell, cell.inputs + node),
            " + ".join(term.ljust(width) for term, width in zip(row, widths, strict=False)),
        )
        for node, row in enumerate(terms)
    ]
    lines.append(("output", f"concat({', '.join(state_name(cell, state) for state in cell.concat)})"))
    longest = max(len(name) for name, _ in lines)
    return [f"{name:<{longest}} = {text}".rstrip() for name, text in lines]
