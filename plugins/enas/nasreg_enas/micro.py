"""The search space of cells, ``enas-micro`` (Pham et al., arXiv 1802.03268, section 2.4), of ``micro_child.py``.

A cell reads the outputs of the two cells before it. Each of its nodes adds two operations, each on any earlier state,
also twice on the same one. What no node reads, inputs included, is the output. All normal cells share one decision (key
``normal``), all reduction cells another (``reduce``).

In the supernet every edge of every slot has weights of its own; a 1x1 convolution, of which only the part for the loose
ends is used, joins these to C channels; and a reduction cell, whose operations have stride 1, reads an image that was
halved before it. The network to retrain has no such convolution but one more at input 1, and reduction cells of stride
2, which halve an input that is a loose end.

What differs from the program: the running statistics of BatchNorm are kept, also in the search, and the supernet has no
auxiliary head, whose weights the program adds and never trains.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from nasreg.errors import SpaceError
from nasreg.nn import Cell
from nasreg.specs import SKIP, DataInfo
from nasreg_enas.config import MicroConfig
from nasreg_enas.layers import FactorizedReduction, Source, pool, separable, stem

SMALLEST_SIDE = 5
"""Images with a shorter side below this many pixels end with maps of one pixel."""


class MicroCell(nn.Module):
    """Brings the outputs of the two cells before to C channels and one size, and computes the cell proper.

    ``(B, C0, H0, W0)`` and ``(B, C1, H, W)`` to ``(B, C, H, W)``; to retrain ``(B, states * C, H', W')``, halved in a
    reduction cell.

    Args:
        config: Options of the space.
        before: What its input 0 reads.
        last: What its input 1 reads.
        channels: Channels C of each node.
        reduction: Whether it is a reduction cell.
    """

    def __init__(self, config: MicroConfig, before: Source, last: Source, channels: int, *, reduction: bool) -> None:
        super().__init__()
        retrain = config.phase == "retrain"
        if before.halvings < last.halvings:
            self.preprocess0: nn.Module = FactorizedReduction(before, channels, relu=True)
        else:
            self.preprocess0 = before.to_channels(channels)
        self.preprocess1 = last.to_channels(channels)
        self.base = Source(channels).relu_conv_bn(channels) if retrain else nn.Identity()
        stride = 2 if reduction and retrain else 1

        def make(name: str, source: int, node: int) -> nn.Module:
            del node
            strided = stride if source < 2 else 1
            if name == SKIP:
                return nn.Identity() if strided == 1 else FactorizedReduction(Source(channels), channels)
            operation = pool(name, strided) if "pool" in name else separable(channels, int(name[-1]), strided)
            return nn.Sequential(operation, StochasticDepth(0.0, mode="row")) if retrain else operation

        halve = partial(FactorizedReduction, Source(channels), channels)
        states = config.nodes + 2
        self.cell = Cell(
            {name: partial(make, name) for name in config.candidates},
            nodes=config.nodes,
            repeat_sources=True,
            concat=range(states),
            loose_ends=True,
            drop_zeros=True,
            output_adapters={0: halve, 1: halve} if stride == 2 else None,
            reduction=reduction,
            key="reduce" if reduction else "normal",
        )
        joined = Source(states * channels, last.halvings + (stride == 2), self.cell)
        self.join = nn.Identity() if retrain else joined.relu_conv_bn(channels)
        self.output = joined if retrain else Source(channels, last.halvings)

    def forward(self, s0: Tensor, s1: Tensor) -> Tensor:
        """Compute the cell from the outputs of the two cells before it."""
        out: Tensor = self.join(self.cell(self.preprocess0(s0), self.base(self.preprocess1(s1))))
        return out


class MicroNetwork(nn.Module):
    """``(B, C, H, W)`` images to ``(B, classes)`` logits; with the auxiliary head to a pair of them."""

    def __init__(self, info: DataInfo, config: MicroConfig) -> None:
        super().__init__()
        self.memory_format: torch.memory_format | None = None
        channels = config.channels
        third = config.cells // 3
        reductions = (third, 2 * third + 1)
        self.auxiliary_at = reductions[1] + 1
        self.auxiliary_head: nn.Module | None = None
        self.stem = stem(info.channels, 3 * channels)
        before = last = Source(3 * channels)
        self.halvers = nn.ModuleDict()
        self.cells = nn.ModuleList()
        for number in range(config.cells + 2):
            reduction = number in reductions
            channels *= 1 + reduction
            if reduction and config.phase == "search":
                self.halvers[str(number)] = FactorizedReduction(last, channels)
                before, last = last, Source(channels, last.halvings + 1)
            cell = MicroCell(config, before, last, channels, reduction=reduction)
            self.cells.append(cell)
            before, last = last, cell.output
            if number == self.auxiliary_at and config.auxiliary:
                self.auxiliary_head = auxiliary_head(info, last)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = last.layer(nn.Linear(last.channels, info.n_classes, bias=False))

    def forward(self, x: Tensor) -> Any:
        """Compute logits, or a pair of logits, of ``(B, C, H, W)`` images."""
        if self.memory_format is not None:
            x = x.contiguous(memory_format=self.memory_format)
        s0 = s1 = self.stem(x)
        auxiliary: Tensor | None = None
        for number, cell in enumerate(self.cells):
            if str(number) in self.halvers:
                s0, s1 = s1, self.halvers[str(number)](s1)
            s0, s1 = s1, cell(s0, s1)
            if number == self.auxiliary_at and self.auxiliary_head is not None:
                auxiliary = self.auxiliary_head(s1)
        logits = self.classifier(self.dropout(F.relu(s1).mean((2, 3))))
        return logits if auxiliary is None else (logits, auxiliary)


def auxiliary_head(info: DataInfo, source: Source) -> nn.Sequential:
    """Return a second classifier: 5x5 pooling of stride 3, two convolutions, the second as large as the map."""
    height, width = (-(-side // 2**source.halvings) for side in (info.height, info.width))
    pools: list[nn.Module] = []
    if min(height, width) >= 5:
        pools.append(nn.AvgPool2d(5, 3))
        height, width = (height - 5) // 3 + 1, (width - 5) // 3 + 1
    return nn.Sequential(
        nn.ReLU(),
        *pools,
        source.conv(128),
        nn.BatchNorm2d(128),
        nn.ReLU(),
        nn.Conv2d(128, 768, (height, width), bias=False),
        nn.BatchNorm2d(768),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(768, info.n_classes, bias=False),
    )


def build(info: DataInfo, config: MicroConfig) -> MicroNetwork:
    """Build the supernet, or with ``phase="retrain"`` the network that is frozen to be retrained.

    Raises:
        SpaceError: The image is too small.
    """
    if min(info.height, info.width) < SMALLEST_SIDE:
        raise SpaceError(
            f"an image of {info.height}x{info.width} pixels is too small for the space enas-micro: set"
            f" dataset.image_size to {SMALLEST_SIDE} or more"
        )
    return MicroNetwork(info, config)
