"""The candidates that P-DARTS drops after each stage, and the cell that it derives (arXiv 1904.12760, 3.2 and 3.3).

All functions take the softmax weights of a cell: one row for each edge, one number for each candidate left.
"""

from __future__ import annotations

from collections.abc import Sequence

from nasreg import mutators
from nasreg.specs import SKIP, CellDecision, CellSpec

Weights = Sequence[Sequence[float]]


def keep_strongest(names: Sequence[str], weights: Sequence[float], n: int) -> tuple[str, ...]:
    """Return the ``n`` candidates of an edge with the largest weights, in their order; ``none`` is like any other."""
    ranked = sorted(range(len(names)), key=lambda number: weights[number], reverse=True)
    return tuple(names[number] for number in sorted(ranked[:n]))


def derive_cell(cell: CellSpec, weights: Weights) -> CellDecision:
    """Derive a cell as DARTS does: the strongest edges of each node, each with its strongest operation but ``none``.

    Returns:
        The decision; within a node edges are in the order of their sources, as in the authors' program.
    """
    return tuple(tuple(sorted(kept, key=lambda edge: edge[1])) for kept in mutators.derive_cell(cell, weights))


def restrict_skips(cell: CellSpec, weights: Weights, max_skips: int) -> CellDecision:
    """Derive a cell with at most ``max_skips`` skip connections.

    While there are more, the one with the smallest weight gets weight 0, and the cell is derived again. Where nothing
    but skip connections is left on the edges, more of them stay.
    """
    rows = [list(row) for row in weights]
    while True:
        decision = derive_cell(cell, rows)
        edges = [
            cell.edges_into(node)[source] for node, kept in enumerate(decision) for name, source in kept if name == SKIP
        ]
        positive = [edge for edge in edges if rows[edge][cell.candidates[edge].index(SKIP)] > 0]
        if len(edges) <= max_skips or not positive:
            return decision
        weakest = min(positive, key=lambda edge: rows[edge][cell.candidates[edge].index(SKIP)])
        rows[weakest][cell.candidates[weakest].index(SKIP)] = 0.0
