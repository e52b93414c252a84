"""The search space of NASNet (Zoph, Vasudevan, Shlens, Le, arXiv 1707.07012): stem, three stages of cells, classifier.

A cell reads the outputs of the two cells before it. Each of its nodes adds two operations, each on any earlier state,
also twice on the same one; the nodes that no other node reads are concatenated. All normal cells share one decision
(key ``normal``), all reduction cells another (``reduce``). A stage has N normal cells; a reduction cell stands before
the second and the third. The frozen network has no weights for nodes that are not concatenated.

What differs from the paper: nodes are added, never concatenated (the controller of the paper may choose, and chose to
add everywhere). The authors' program (tensorflow/models, slim) concatenates some states of NASNet-A that are read, too:
``normal_concat`` and ``reduce_concat`` say so. With the stem for small images, the first cell reads the stem through
two 1x1 convolutions; in the program one of its inputs is the stem itself.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from nasreg.errors import SpaceError
from nasreg.nn import AfterLooseEnds, Cell
from nasreg.specs import DataInfo
from nasreg_nasnet.config import SpaceConfig, States
from nasreg_nasnet.operations import MAKERS

IMAGENET_STEM_FROM = 96
"""Images with a shorter side below this many pixels get the CIFAR stem."""

SMALLEST_SIDE = {"cifar": 5, "imagenet": 65}
"""Images with a shorter side below this many pixels end with maps of one pixel."""

STAGES = 3


class Source(NamedTuple):
    """What a layer reads: the stem, or the output of a cell."""

    channels: int
    halvings: int
    """How often height and width were halved since the stem."""
    cell: Cell | None = None

    def layer(self, layer: nn.Module) -> nn.Module:
        """Return a convolution or linear layer as one that reads it."""
        return layer if self.cell is None or not self.cell.drop_zeros else AfterLooseEnds(self.cell, layer)

    def conv(self, channels: int, stride: int = 1) -> nn.Module:
        """Return a 1x1 convolution that reads it."""
        return self.layer(nn.Conv2d(self.channels, channels, 1, stride, bias=False))


class FactorizedReduce(nn.Module):
    """Halves height and width by two 1x1 convolutions of stride 2, one of which reads the image shifted by a pixel.

    ``(B, source.channels, H, W)`` to ``(B, channels, ceil(H / 2), ceil(W / 2))``.
    """

    def __init__(self, source: Source, channels: int) -> None:
        super().__init__()
        self.conv_1 = source.conv(channels // 2, 2)
        self.conv_2 = source.conv(channels - channels // 2, 2)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Reduce ``(B, C, H, W)``."""
        x = F.relu(x)
        reduced: Tensor = self.bn(torch.cat([self.conv_1(x), self.conv_2(F.pad(x, (-1, 1, -1, 1)))], 1))
        return reduced


class NasnetCell(nn.Module):
    """Brings the outputs of the two cells before to C channels and one size, and computes the cell proper.

    ``(B, C0, H0, W0)`` and ``(B, C1, H, W)`` to ``(B, states * C, H, W)``, halved in a reduction cell.

    Args:
        config: Options of the space.
        before: What its input 0 reads.
        last: What its input 1 reads.
        channels: Channels C of each node.
        reduction: Whether it is a reduction cell.
        raw: Whether input 0 is what it reads as it is.
    """

    def __init__(
        self, config: SpaceConfig, before: Source, last: Source, channels: int, *, reduction: bool, raw: bool = False
    ) -> None:
        super().__init__()
        self.preprocess0: nn.Module
        if raw:
            self.preprocess0 = nn.Identity()
        elif before.halvings < last.halvings:
            self.preprocess0 = FactorizedReduce(before, channels)
        else:
            self.preprocess0 = nn.Sequential(nn.ReLU(), before.conv(channels), nn.BatchNorm2d(channels))
        self.preprocess1 = nn.Sequential(nn.ReLU(), last.conv(channels), nn.BatchNorm2d(channels))
        widths = (before.channels if raw else channels, channels)

        def make(name: str, source: int, node: int) -> nn.Module:
            del node
            c_in, stride = (widths[source], 1 + reduction) if source < 2 else (channels, 1)
            operation = MAKERS[name](c_in, channels, stride)
            if config.phase == "search" or isinstance(operation, nn.Identity):
                return operation
            return nn.Sequential(operation, StochasticDepth(0.0, mode="row"))

        given = config.reduce_concat if reduction else config.normal_concat
        concat: States = given or tuple(range(2, 2 + config.nodes))
        self.cell = Cell(
            {name: partial(make, name) for name in config.candidates},
            nodes=config.nodes,
            repeat_sources=True,
            concat=concat,
            loose_ends=given is None,
            drop_zeros=given is None,
            reduction=reduction,
            key="reduce" if reduction else "normal",
        )
        self.output = Source(len(concat) * channels, last.halvings + reduction, self.cell)

    def forward(self, s0: Tensor, s1: Tensor) -> Tensor:
        """Compute the cell from the outputs of the two cells before it."""
        out: Tensor = self.cell(self.preprocess0(s0), self.preprocess1(s1))
        return out


class Network(nn.Module):
    """``(B, C, H, W)`` images to ``(B, classes)`` logits; with the auxiliary head to a pair of them."""

    def __init__(self, info: DataInfo, config: SpaceConfig, stem: str) -> None:
        super().__init__()
        self.memory_format: torch.memory_format | None = None
        imagenet = stem == "imagenet"
        width = config.stem_channels or (32 if imagenet else 3 * config.channels)
        self.stem = nn.Sequential(
            nn.Conv2d(info.channels, width, 3, 1 + imagenet, 0 if imagenet else 1, bias=False), nn.BatchNorm2d(width)
        )
        self.cells = nn.ModuleList()
        self.skipped: list[bool] = []
        before = last = Source(width, 0)

        def add(channels: int, *, reduction: bool, raw: bool = False, skipped: bool = False) -> None:
            nonlocal before, last
            cell = NasnetCell(config, before, last, channels, reduction=reduction, raw=raw)
            self.cells.append(cell)
            self.skipped.append(skipped)
            before, last = before if skipped else last, cell.output

        if imagenet:
            add(max(1, config.channels // 4), reduction=True, raw=True)
            add(max(1, config.channels // 2), reduction=True)
        for stage in range(STAGES):
            channels = config.channels * 2**stage
            if stage:
                add(channels, reduction=True, skipped=config.skip_reductions)
            for _ in range(config.cells):
                add(channels, reduction=False)
            if stage == 1:
                self.auxiliary_at = len(self.cells) - 1
                head = self._auxiliary_head(info, last, imagenet=imagenet) if config.auxiliary else None
                self.auxiliary_head = head
        self.classifier = last.layer(nn.Linear(last.channels, info.n_classes))

    @staticmethod
    def _auxiliary_head(info: DataInfo, source: Source, *, imagenet: bool) -> nn.Sequential:
        """Return a second classifier: 5x5 pooling of stride 3, two convolutions, the second as large as the map."""
        sides = [(side - 1) // 2 if imagenet else side for side in (info.height, info.width)]
        height, width = (-(-side // 2**source.halvings) for side in sides)
        pools: list[nn.Module] = []
        if min(height, width) >= 5:
            pools.append(nn.AvgPool2d(5, 3, count_include_pad=False))
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
            nn.Linear(768, info.n_classes),
        )

    def forward(self, x: Tensor) -> Any:
        """Compute logits, or a pair of logits, of ``(B, C, H, W)`` images."""
        if self.memory_format is not None:
            x = x.contiguous(memory_format=self.memory_format)
        s0 = s1 = self.stem(x)
        auxiliary: Tensor | None = None
        for number, (cell, skipped) in enumerate(zip(self.cells, self.skipped, strict=True)):
            s0, s1 = s0 if skipped else s1, cell(s0, s1)
            if number == self.auxiliary_at and self.auxiliary_head is not None:
                auxiliary = self.auxiliary_head(s1)
        logits = self.classifier(F.relu(s1).mean((2, 3)))
        return logits if auxiliary is None else (logits, auxiliary)


def build(info: DataInfo, config: SpaceConfig) -> Network:
    """Build the supernet, or with ``phase="retrain"`` the network that is frozen to be retrained.

    Raises:
        SpaceError: The image is too small.
    """
    side = min(info.height, info.width)
    stem = config.stem if config.stem != "auto" else "imagenet" if side >= IMAGENET_STEM_FROM else "cifar"
    if side < SMALLEST_SIDE[stem]:
        raise SpaceError(
            f"an image of {info.height}x{info.width} pixels is too small for the NASNet space with the {stem} stem:"
            f" set dataset.image_size to {SMALLEST_SIDE[stem]} or more"
        )
    return Network(info, config, stem)
