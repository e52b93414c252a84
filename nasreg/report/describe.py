"""An architecture as text, and the names of its cells and states. Needs no optional package."""

from __future__ import annotations

from typing import cast

from nasreg.specs.architecture import Architecture, CellDecision, Decision
from nasreg.specs.space import AnyChoiceSpec, CellSpec, RepeatSpec, SearchSpaceSpec


def describe_architecture(space: SearchSpaceSpec, architecture: Architecture) -> str:
    """Return the description of an architecture, several lines.

    Args:
        space: The space of the architecture.
        architecture: The architecture to describe.

    Returns:
        A line ``node 0 = sep_conv_3x3(c_{k-2}) + skip_connect(c_{k-1})`` for each node of a cell, and a line
        ``key = decision`` for each other choice, except those in blocks of a stack that are left out.

    Raises:
        ArchitectureError: The architecture does not belong to the space.
    """
    space.validate(architecture)
    blocks = [
        [f"{cell_title(cell)}", *(f"  {line}" for line in _cell_lines(cell, decision))]
        for cell, decision in cells(space, architecture)
    ]
    rows = choice_rows(space, architecture)
    width = max((len(key) for key, _ in rows), default=0)
    blocks.append([f"{key:<{width}} = {decision}" for key, decision in rows])
    return "\n\n".join("\n".join(block) for block in blocks if block)


def cells(space: SearchSpaceSpec, architecture: Architecture) -> list[tuple[CellSpec, CellDecision]]:
    """Return each cell of a space with its decision."""
    return [
        (choice, cast("CellDecision", architecture.decisions[choice.key]))
        for choice in space.choices
        if isinstance(choice, CellSpec)
    ]


def choice_rows(space: SearchSpaceSpec, architecture: Architecture) -> list[tuple[str, str]]:
    """Return the key and the decision, as text, of each choice that is no cell and in no block that is left out."""
    left_out = {
        choice.key
        for repeat, blocks in stacks(space)
        for block in blocks[cast("int", architecture.decisions[repeat.key]) :]
        for choice in block
    }
    keys = [choice.key for choice in space.choices if not isinstance(choice, CellSpec) and choice.key not in left_out]
    return [(key, decision_text(architecture.decisions[key])) for key in keys]


def stacks(space: SearchSpaceSpec) -> list[tuple[RepeatSpec, list[list[AnyChoiceSpec]]]]:
    """Return each stack of blocks, a ``Repeat``, with the choices that belong to each of its blocks alone.

    A choice belongs to the block in which the model has it first, and to none if it is also outside of the stack.
    """
    found = []
    for repeat in space.choices:
        if isinstance(repeat, RepeatSpec):
            blocks: list[list[AnyChoiceSpec]] = [[] for _ in range(repeat.depths[-1])]
            prefixes = tuple(f"{path}." for path in repeat.paths)
            for choice in space.choices:
                if choice.paths and all(path.startswith(prefixes) for path in choice.paths):
                    _, list_name, number = choice.paths[0].partition(".blocks.")
                    if list_name and number.partition(".")[0].isdecimal():
                        blocks[int(number.partition(".")[0])].append(choice)
            found.append((repeat, blocks))
    return found


def decision_text(decision: Decision) -> str:
    """Return a decision that is not that of a cell as text."""
    return (", ".join(map(str, decision)) or "(none)") if isinstance(decision, tuple) else str(decision)


def cell_title(cell: CellSpec) -> str:
    """Return the title of a cell, such as ``normal cell``; ``cell`` for a key that says no more."""
    if cell.key == "cell":
        return "cell"
    kind, usual = ("reduction cell", "reduce") if cell.reduction else ("normal cell", "normal")
    return kind if cell.key == usual else f"{kind} {cell.key}"


def state_name(cell: CellSpec, state: int) -> str:
    """Return the name of a state of a cell: ``c_{k-2}``, ``c_{k-1}`` as in the papers, or ``input 0``; ``node 0``."""
    if state >= cell.inputs:
        return f"node {state - cell.inputs}"
    return f"c_{{k-{cell.inputs - state}}}" if cell.inputs == 2 else f"input {state}"


def output_name(cell: CellSpec) -> str:
    """Return the name of a cell's output: ``c_{k}`` as in the papers of cells with two inputs."""
    return "c_{k}" if cell.inputs == 2 else "output"


def edge_title(cell: CellSpec, edge: int) -> str:
    """Return the title of an edge of a cell, such as ``c_{k-1} to node 0``, with its slot where nodes have slots."""
    node, slot, source = cell.edge_ends[edge]
    ends = f"{state_name(cell, source)} to {state_name(cell, cell.inputs + node)}"
    return f"{ends}, slot {slot}" if cell.repeat_sources else ends


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
    outputs = [state_name(cell, state) for state in cell.output_states(decision)]
    joined = outputs[0] if len(outputs) == 1 else f"{cell.join}({', '.join(outputs)})"
    lines.append((output_name(cell), joined))
    longest = max(len(name) for name, _ in lines)
    return [f"{name:<{longest}} = {text}".rstrip() for name, text in lines]
