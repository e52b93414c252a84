"""What takes the output of a cell with loose ends, and freezes to what is left of its input."""

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


class UnlessOneLooseEnd(nn.Module):
    """A module that takes the output of a ``Cell(..., loose_ends=True, drop_zeros=True)`` where it has several states.

    Where a single state is left as a loose end, that state is passed on as it is, as by programs that bring the output
    of a cell to the channels of a state only where it has others.

    Args:
        cell: The cell.
        module: Returns the shape of one state. Its layers that read the output are ``AfterLooseEnds``.
    """

    def __init__(self, cell: Cell, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self._cell = (cell,)  # in a tuple, since it is no part of this module

    def forward(self, x: Tensor) -> Tensor:
        """Compute the module, or return the only state that is not zero."""
        (cell,) = self._cell
        joined, concat = cell.joined_states(), cell.spec(cell.key or "cell", ()).concat
        if len(joined) == 1:
            return x.chunk(len(concat), 1)[concat.index(joined[0])]
        result: Tensor = self.module(x)
        return result

    def frozen(self) -> nn.Module:
        """Return the module, or the identity where the decision of the cell has one loose end."""
        (cell,) = self._cell
        return nn.Identity() if len(cell.joined_states()) == 1 else self.module
