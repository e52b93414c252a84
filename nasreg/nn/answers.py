"""The answers that a mutator gives to a choice in a forward pass: a decision, or weights of candidates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from nasreg.errors import SpaceError
from nasreg.specs.architecture import Decision


@dataclass(frozen=True)
class HardWeights:
    """Weights that are one for one candidate and zero for the others, and yet have gradients (straight-through).

    Only that candidate is computed. The weights of the others, which are zeros, are added to its output as numbers, so
    that every weight has a gradient (GDAS, arXiv 1910.04465, section 3.2). If the weights require no gradient, this is
    a decision.
    """

    candidate: str
    """The candidate that is computed."""
    weights: Tensor
    """``(n,)``: the weights of all candidates, in their order."""


Weights = Tensor | Mapping[str, Tensor] | HardWeights
"""Weights of all candidates, ``(n,)`` in their order, a scalar weight for some of them by name, or ``HardWeights``.
Only candidates that have a weight are computed; gradients flow through the weights."""


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


def named_weights(
    choice: str, names: Sequence[str], weights: Tensor | Mapping[str, Tensor]
) -> list[tuple[str, Tensor]]:
    """Return the candidates that have a weight, in the order of the choice.

    Args:
        choice: Name of the choice, for error messages.
        names: Names of all candidates.
        weights: Their weights.

    Raises:
        SpaceError: Wrong number of weights, or a name that is not a candidate's.
    """
    if isinstance(weights, Tensor):
        _check_shape(choice, names, weights)
        return list(zip(names, weights.unbind(), strict=True))
    _check_names(choice, names, weights)
    chosen = [(name, weights[name]) for name in names if name in weights]
    return [(name, weight if weight.dim() == 0 else weight.reshape(())) for name, weight in chosen]


def computed_candidates(
    choice: str, names: Sequence[str], weights: Weights
) -> tuple[list[tuple[str, Tensor | None]], Tensor | None]:
    """Return the candidates to compute, each with its weight (None for 1), and a zero to add for its gradient.

    The zero is the sum of those ``HardWeights`` that are added to the output as numbers: a scalar, or None for other
    weights and where no gradient is needed.

    Args:
        choice: Name of the choice, for error messages.
        names: Names of all candidates.
        weights: Their weights.

    Raises:
        SpaceError: Wrong number of weights, or a name that is not a candidate's.
    """
    if not isinstance(weights, HardWeights):
        return [*named_weights(choice, names, weights)], None
    _check_shape(choice, names, weights.weights)
    _check_names(choice, names, [weights.candidate])
    if not weights.weights.requires_grad:
        return [(weights.candidate, None)], None
    chosen = names.index(weights.candidate)
    others = [number for number in range(len(names)) if number != chosen]
    return [(weights.candidate, weights.weights[chosen])], weights.weights[others].sum()


def _check_shape(choice: str, names: Sequence[str], weights: Tensor) -> None:
    if tuple(weights.shape) != (len(names),):
        raise SpaceError(f"{choice} has {len(names)} candidates, but got weights of shape {tuple(weights.shape)}")


def _check_names(choice: str, names: Sequence[str], given: Iterable[str]) -> None:
    if unknown := [name for name in given if name not in names]:
        raise SpaceError(f"{choice} got a weight for {unknown[0]!r}, which is not one of {', '.join(names)}")


def cell_weights(choice: str, n_edges: int, answer: Any) -> CellWeights | None:
    """Return the answer of a cell as ``CellWeights``, or None if it is a decision.

    Raises:
        SpaceError: Wrong number of edges.
    """
    if not isinstance(answer, CellWeights) and not isinstance(answer[0], Tensor | Mapping | HardWeights):
        return None
    weights = answer if isinstance(answer, CellWeights) else CellWeights(answer)
    if len(weights.candidates) != n_edges:
        raise SpaceError(f"{choice} has {n_edges} edges, but got weights for {len(weights.candidates)}")
    if weights.edges is not None and tuple(weights.edges.shape) != (n_edges,):
        raise SpaceError(f"{choice} has {n_edges} edges, but got edge weights of shape {tuple(weights.edges.shape)}")
    return weights
