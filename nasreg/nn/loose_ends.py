"""A layer that takes the output of a cell with loose ends, and that freezes to what is left of its input."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from nasreg.errors import SpaceError
from nasreg.nn.cell import Cell
from nasreg.specs.cell import CellSpec


class AfterLooseEnds(nn.Module):
    """A convolution or linear layer whose input is the output of a ``Cell(..., loose_ends=True, drop_zeros=True)``.

    In a supernet the states that some node reads are zeros in that output; the frozen cell leaves them out, and this
    layer freezes to one that has no weights for them. ReLU, pooling and whatever else keeps zeros and channels may be
    in between.

    Args:
        cell: The cell.
        layer: A ``torch.nn.Conv2d`` with one group, or a ``torch.nn.Linear``; its input has as many channels as the
            output of the cell in the supernet.

    Raises:
        SpaceError: The layer is of another kind, or its input cannot be such an output.
    """

    def __init__(self, cell: Cell, layer: nn.Module) -> None:
        super().__init__()
        if not (isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)):
            raise SpaceError(f"AfterLooseEnds takes a Conv2d with one group or a Linear, not {layer}")
        if layer.weight.shape[1] % len(self._spec_of(cell).concat):
            raise SpaceError(
                f"AfterLooseEnds: {layer} has {layer.weight.shape[1]} channels, which the"
                f" {len(self._spec_of(cell).concat)} states of {cell.label} cannot have"
            )
        self.layer: nn.Conv2d | nn.Linear = layer
        self._cell = (cell,)  # in a tuple, since it is no part of this layer

    @staticmethod
    def _spec_of(cell: Cell) -> CellSpec:
        return cell.spec(cell.key or "cell", ())

    def forward(self, x: Tensor) -> Tensor:
        """Compute the layer."""
        result: Tensor = self.layer(x)
        return result

    def frozen(self) -> nn.Module:
        """Return the layer without weights for the states that a node reads in the decision of the cell."""
        (cell,) = self._cell
        spec = self._spec_of(cell)
        loose = spec.output_states(cell.answer())  # type: ignore[arg-type]  # freezing gives decisions
        layer = self.layer
        channels = torch.arange(layer.weight.shape[1], device=layer.weight.device).chunk(len(spec.concat))
        kept = torch.cat([each for each, state in zip(channels, spec.concat, strict=True) if state in loose])
        if len(kept) == layer.weight.shape[1]:
            return layer
        plain = copy.copy(layer)
        plain._parameters = dict(layer._parameters)
        weight = layer.weight.detach().index_select(1, kept)
        plain.weight = nn.Parameter(weight, requires_grad=layer.weight.requires_grad)
        if isinstance(plain, nn.Linear):
            plain.in_features = len(kept)
        else:
            plain.in_channels = len(kept)
        return plain
