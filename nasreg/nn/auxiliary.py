"""Auxiliary skip connections on the edges of cells (DARTS-: Chu et al., arXiv 2009.01027, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from nasreg.errors import SpaceError
from nasreg.nn.cell import Cell
from nasreg.nn.copying import copy_module
from nasreg.specs.space import SKIP


class AuxiliarySkips:
    """The auxiliary skip connections of a model, which have one weight.

    Args:
        cells: The cells that have them.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._cells = cells

    @property
    def weight(self) -> float:
        """The weight, which is no parameter; with 0 they are not computed."""
        return self._cells[0].auxiliary_weight

    @weight.setter
    def weight(self, value: float) -> None:
        for cell in self._cells:
            cell.auxiliary_weight = value


def add_auxiliary_skips(model: nn.Module) -> AuxiliarySkips:
    """Add a further skip connection to each edge of a model's cells that has ``skip_connect`` among its candidates.

    An edge then computes the weighted sum of its candidates, plus a common weight times the output of a new module of
    the same kind as its ``skip_connect``: the identity, or what halves the image there. It is no candidate: the search
    space stays what it is, and neither a decision nor a frozen network computes it. The weight is 1 at first.

    Args:
        model: A model with cells. An optimizer has to be made after this call.

    Raises:
        SpaceError: No edge of a cell has such a candidate.
    """
    cells = list(dict.fromkeys(module for module in model.modules() if isinstance(module, Cell)))
    found = [cell for cell in cells if any(SKIP in edge.names for edge in map(cell.modules_of, range(len(cell.edges))))]
    if not found:
        raise SpaceError(
            f"auxiliary skip connections are for cells with the candidate {SKIP!r}, and the model has none: leave them"
            " out"
        )
    for cell in found:
        for edge in range(len(cell.edges)):
            candidates = cell.modules_of(edge)
            if SKIP in candidates.names:
                cell.auxiliary_skips[str(edge)] = _anew(candidates[SKIP])
    skips = AuxiliarySkips(found)
    skips.weight = 1.0
    return skips


def _anew(module: nn.Module) -> nn.Module:
    """Return a copy of a module with new weights."""
    copied = copy_module(module)
    for part in copied.modules():
        reset: Any = getattr(part, "reset_parameters", None)  # torch's own layers have it
        if callable(reset):
            reset()
    return copied
