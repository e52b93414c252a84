"""Architectures of NASNet cells as text: ``NASNet(normal=[('sep_conv_5x5', 1), ...], normal_concat=[...], ...)``.

It is the form of the genotypes in the DARTS program, which has NASNet-A, under another name, since its cells are of
another form: the two pairs (operation, source state) of a node may read the same state. ``..._concat`` are the states
that make the output; they follow from the cells. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from nasreg.specs import Architecture, CellDecision, CellSpec, Decision, SearchSpaceSpec, parse_genotype

PREFIX = "NASNet("


def format_text(space: SearchSpaceSpec, architecture: Architecture) -> str:
    """Return an architecture as text."""
    parts = []
    for cell in cast("Sequence[CellSpec]", space.choices):
        decision = cast("CellDecision", architecture.decisions[cell.key])
        edges = [edge for node in decision for edge in node]
        parts.append(f"{cell.key}={edges!r}, {cell.key}_concat={list(cell.output_states(decision))}")
    return f"{PREFIX}{', '.join(parts)})"


def parse_text(space: SearchSpaceSpec, text: str) -> Mapping[str, Decision]:
    """Return the decisions that a text describes.

    Raises:
        ValueError: It is malformed, or does not fit the space.
    """
    found = parse_genotype(f"Genotype({text.removeprefix(PREFIX)}", "the text")
    cells = cast("Sequence[CellSpec]", space.choices)
    if set(found) != {cell.key for cell in cells}:
        raise ValueError(f"the text has the cells {', '.join(found)}, not {', '.join(cell.key for cell in cells)}")
    decisions: dict[str, Decision] = {}
    for cell in cells:
        edges, concat = found[cell.key]
        if len(edges) != 2 * cell.nodes:
            raise ValueError(f"cell {cell.key!r} has {len(edges)} pairs, but {cell.nodes} nodes need {2 * cell.nodes}")
        decision = tuple(zip(edges[::2], edges[1::2], strict=True))
        decisions[cell.key] = decision
        loose = loose_ends(cell, decision)
        if concat not in (loose, cell.output_states(decision)):
            raise ValueError(
                f"cell {cell.key!r} concatenates states {list(concat)}, but the states that no node reads are"
                f" {list(loose)}"
            )
    return decisions


def loose_ends(cell: CellSpec, decision: CellDecision) -> tuple[int, ...]:
    """Return the nodes that no node reads."""
    read = {source for node in decision for _, source in node}
    return tuple(state for state in range(cell.inputs, cell.inputs + cell.nodes) if state not in read)
