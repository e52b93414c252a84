"""The operations that FairDARTS keeps in a cell (arXiv 1911.12126, section 4.3, and the authors' program).

All functions take the sigmoid weights of a cell: one row for each edge, one number for each of its candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nasreg import mutators
from nasreg.specs import NONE, CellDecision, CellSpec

Weights = Sequence[Sequence[float]]

EDGE_OPERATIONS = 2
"""Operations of an edge that ``dense_cell`` keeps at most."""


class Operation(NamedTuple):
    """An operation that a cell keeps."""

    name: str
    node: int
    """The state that it leads to; inputs count."""
    source: int


def sparse_cell(cell: CellSpec, weights: Weights, threshold: float) -> list[Operation]:
    """Keep, of what DARTS derives, the operations with a weight of ``threshold`` or more (``threshold_sparse``).

    A node may keep fewer edges than the space allows, or none.
    """
    return [
        Operation(name, cell.inputs + node, source)
        for node, kept in enumerate(mutators.derive_cell(cell, weights))
        for name, source in kept
        if _weight(cell, weights, node, name, source) >= threshold
    ]


def dense_cell(cell: CellSpec, weights: Weights, threshold: float) -> list[Operation]:
    """Keep the two strongest operations of every edge that have a weight of ``threshold`` or more (``threshold_edge``).

    The weaker one of an edge comes first.
    """
    kept = []
    for edge, (node, _, source) in enumerate(cell.edge_ends):
        ranked = sorted(zip(weights[edge], cell.candidates[edge], strict=True), key=lambda pair: pair[0])
        kept += [
            Operation(name, cell.inputs + node, source)
            for weight, name in ranked[-EDGE_OPERATIONS:]
            if weight >= threshold
        ]
    return kept


def with_none(cell: CellSpec, weights: Weights, threshold: float) -> CellDecision:
    """Derive a cell as DARTS does, with ``none`` in place of operations below the threshold where it can be chosen."""

    def operation(node: int, name: str, source: int) -> str:
        possible = cell.selectable(cell.edges_into(node)[source])
        return NONE if NONE in possible and _weight(cell, weights, node, name, source) < threshold else name

    return tuple(
        tuple((operation(node, name, source), source) for name, source in kept)
        for node, kept in enumerate(mutators.derive_cell(cell, weights))
    )


def _weight(cell: CellSpec, weights: Weights, node: int, name: str, source: int) -> float:
    edge = cell.edges_into(node)[source]
    return weights[edge][cell.candidates[edge].index(name)]
