"""The answers that a mutator gives to a choice in a forward pass: a decision, or weights of candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from nasreg.errors import SpaceError
from nasreg.specs.architecture import Decision

Weights = Tensor | Mapping[str, Tensor]
"""Weights of all candidates, ``(n,)`` in their order, or a scalar weight for some of them by name. Only candidates that
have a weight are computed; gradients flow through the weights."""


@dataclass(frozen=True)
class CellWeights:
    """Weights of the candidates on the edges of a cell, and of the edges themselves.

    Weights of edges are the edge normalisation of PC-DARTS (arXiv 1907.05737, section 3.3).
    """

    candidates: Tensor | Sequence[Weights]
    """``(edges, candidates)``, or the weights for each edge; an empty mapping leaves out an edge."""
    edges: Tensor | None = None
    """``(edges,)``: the weighted sum of each edge's candidates is multiplied by them."""


Answer = Weights | Sequence[Weights] | CellWeights | Decision
"""A decision (only what is chosen is computed), weights of candidates (layer, input), or weights per edge (cell)."""


def named_weights(choice: str, names: Sequence[str], weights: Weights) -> list[tuple[str, Tensor]]:
    """Return the candidates that have a weight, in the order of the choice.

    Args:
        choice: Name of the choice, for error messages.
        names: Names of all candidates.
        weights: Their weights.

    Raises:
        SpaceError: Wrong number of weights, or a name that is not a candidate's.
    """
    if isinstance(weights, Tensor):
        if tuple(weights.shape) != (len(names),):
            raise SpaceError(f"{choice} has {len(names)} candidates, but got weights of shape {tuple(weights.shape)}")
        return list(zip(names, weights.unbind(), strict=True))
    if unknown := [name for name in weights if name not in names]:
        raise SpaceError(f"{choice} got a weight for {unknown[0]!r}, which is not one of {', '.join(names)}")
    chosen = [(name, weights[name]) for name in names if name in weights]
    return [(name, weight if weight.dim() == 0 else weight.reshape(())) for name, weight in chosen]


def cell_weights(choice: str, n_edges: int, answer: Any) -> CellWeights | None:
    """Return the answer of a cell as ``CellWeights``, or None if it is a decision.

    Raises:
        SpaceError: Wrong number of edges.
    """
    if not isinstance(answer, CellWeights) and not isinstance(answer[0], Tensor | Mapping):
        return None
    weights = answer if isinstance(answer, CellWeights) else CellWeights(answer)
    if len(weights.candidates) != n_edges:
        raise SpaceError(f"{choice} has {n_edges} edges, but got weights for {len(weights.candidates)}")
    if weights.edges is not None and tuple(weights.edges.shape) != (n_edges,):
        raise SpaceError(f"{choice} has {n_edges} edges, but got edge weights of shape {tuple(weights.edges.shape)}")
    return weights
