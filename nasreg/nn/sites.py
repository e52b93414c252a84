"""The places of candidates and edges in a model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EdgeSite:
    """An edge of a cell.

    Attributes:
        key: Full key of the choice.
        choice_path: Name of the choice among the modules of the model.
        source: State that the edge starts from.
        node: Node that it leads to, from 0.
        edge: Number of the edge; edges are ordered node by node, then slot by slot, then source by source.
        slot: In a cell with ``repeat_sources``, the slot of the node that the edge belongs to; 0 in any other.
        reduction: Whether the cell is a reduction cell.
    """

    key: str
    choice_path: str
    source: int
    node: int
    edge: int
    slot: int
    reduction: bool


@dataclass(frozen=True)
class CandidateSite:
    """A candidate of a choice.

    Attributes:
        key: Full key of the choice.
        choice_path: Name of the choice among the modules of the model.
        path: Name of the candidate among the modules of the model.
        candidate: Name of the candidate in the choice.
        source: For a cell, the state that its edge starts from.
        node: For a cell, the node that its edge leads to, from 0.
        edge: For a cell, the number of its edge.
        slot: For a cell, the slot that its edge belongs to; see ``EdgeSite``.
        reduction: For a cell, whether it is a reduction cell.
    """

    key: str
    choice_path: str
    path: str
    candidate: str
    source: int | None = None
    node: int | None = None
    edge: int | None = None
    slot: int | None = None
    reduction: bool = False
