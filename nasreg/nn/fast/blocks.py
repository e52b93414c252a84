"""The candidates of a fused sum as data: blocks of BatchNorm, ReLU and convolutions, which refer to tensors by slot.

A slot is the position of a tensor among the inputs of the autograd function, so that the same description serves for
other tensors, such as those that activation checkpointing computes again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from nasreg.nn.fast.batch_norm import AffineGrad, BatchNorm
from nasreg.nn.fast.convolution import Geometry


@dataclass(frozen=True)
class BatchNormSlots:
    """A BatchNorm in training mode, and the slots of its weight and bias (None where it has none)."""

    module: nn.BatchNorm2d
    weight: int | None
    bias: int | None


@dataclass(frozen=True)
class ConvBlock:
    """One or more convolutions in a row, after an optional BatchNorm and an optional ReLU."""

    norm: BatchNormSlots | None
    relu: bool
    weights: tuple[int, ...]
    geometries: tuple[Geometry, ...]

    @property
    def first_new_input(self) -> int:
        """Position of the first input of a convolution that is not the input of the block itself."""
        return 0 if self.norm or self.relu else 1


@dataclass(frozen=True)
class Candidate:
    """A candidate: its weight in the sum, its source, its blocks and an optional BatchNorm at its end.

    Functions that take the number of a block accept the number of blocks for the end.
    """

    weight: int
    source: int
    blocks: tuple[ConvBlock, ...]
    norm: BatchNormSlots | None

    def norm_before(self, block: int) -> BatchNormSlots | None:
        """Return the BatchNorm that a block starts with."""
        return self.blocks[block].norm if block < len(self.blocks) else self.norm

    def weight_folded_into(self, block: int) -> int | None:
        """Return the slot of the candidate's weight, if it is folded into the BatchNorm that a block starts with."""
        return self.weight if block == len(self.blocks) else None


class BlockInput(NamedTuple):
    """The input of a block, or of a candidate's end."""

    chunks: Sequence[Tensor]
    norm: BatchNorm | None
    """The BatchNorm that the block starts with; at the end, with the candidate's weight folded in."""
    conv_inputs: list[list[Tensor]]
    """The inputs of the block's convolutions, for each chunk; empty unless they are kept."""


class BackwardCache(NamedTuple):
    """Results of the backward pass through a BatchNorm that the second derivative uses."""

    affine_grad: AffineGrad
    output_grad: list[Tensor]
    """Gradient of the BatchNorm's output in chunks; empty unless it is kept."""
    input_grad: list[Tensor]
    """Gradient of its input in chunks; empty unless it is kept."""
