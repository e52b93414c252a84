"""The DARTS cell space: a stem, a stack of cells, a classifier (Liu, Simonyan, Yang, arXiv 1806.09055).

All normal cells share one decision (key ``normal``), all reduction cells another (``reduce``). Reduction cells sit at
one and two thirds of the depth. What differs from the paper: stem and number of reductions adapt to small images.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import Tensor, nn

from nasreg.errors import SpaceError
from nasreg.nn.cell import Cell
from nasreg.spaces.config import DartsSpaceConfig
from nasreg.spaces.operations import OPERATIONS, FactorizedReduce, relu_conv_bn
from nasreg.specs.data import DataInfo
from nasreg.specs.space import NONE

IMAGENET_STEM_FROM = 96
"""Images with a shorter side below this many pixels get the CIFAR stem."""

SMALLEST_MAP = 2
"""No reduction that would leave feature maps of fewer pixels a side than this."""


def reduction_positions(cells: int, reductions: int) -> list[int]:
    """Return which cells reduce: for two, ``layers // 3`` and ``2 * layers // 3``, as in the authors' program."""
    return [number * cells // (reductions + 1) for number in range(1, reductions + 1)]


class DartsCell(nn.Module):
    """Two 1x1 preprocessings that bring the earlier outputs to C channels and one size, and the cell proper.

    ``(B, C_pp, H', W')`` and ``(B, C_p, H, W)`` to ``(B, nodes * C, H, W)``, halved in a reduction cell.
    """

    def __init__(
        self, config: DartsSpaceConfig, c_pp: int, c_p: int, channels: int, *, reduction: bool, after_reduction: bool
    ) -> None:
        super().__init__()
        affine = config.phase == "retrain"
        self.preprocess0: nn.Module
        if after_reduction:
            self.preprocess0 = FactorizedReduce(c_pp, channels, affine=affine)
        else:
            self.preprocess0 = relu_conv_bn(c_pp, channels, 1, affine=affine)
        self.preprocess1 = relu_conv_bn(c_p, channels, 1, affine=affine)

        def make(name: str, source: int, node: int) -> nn.Module:
            return OPERATIONS[name](channels, 2 if reduction and source < 2 else 1, affine=affine)

        key: Literal["normal", "reduce"] = "reduce" if reduction else "normal"
        self.cell = Cell(
            {name: partial(make, name) if name != NONE else None for name in config.candidates},
            inputs=2,
            nodes=config.nodes,
            edges_kept=config.edges_kept,
            reduction=reduction,
            edge_candidates=(config.edge_candidates or {}).get(key),
            key=key,
        )

    def forward(self, s0: Tensor, s1: Tensor) -> Tensor:
        """Compute the cell from the outputs of the two cells before it."""
        out: Tensor = self.cell(self.preprocess0(s0), self.preprocess1(s1))
        return out


class DartsNetwork(nn.Module):
    """Stem, cells, global average pooling, linear classifier: ``(B, C, H, W)`` images to ``(B, classes)`` logits."""

    def __init__(self, info: DataInfo, config: DartsSpaceConfig) -> None:
        super().__init__()
        imagenet = _stem(info, config) == "imagenet"
        reductions = reduction_positions(config.cells, _reductions(info, config))
        channels = config.channels
        if imagenet:
            self.stem0 = nn.Sequential(
                nn.Conv2d(info.channels, channels // 2, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(channels // 2),
                *relu_conv_bn(channels // 2, channels, 3, stride=2, padding=1, affine=True),
            )
            self.stem1: nn.Module = relu_conv_bn(channels, channels, 3, stride=2, padding=1, affine=True)
            c_pp = c_p = channels
        else:
            c_pp = c_p = 3 * channels
            self.stem0 = nn.Sequential(
                nn.Conv2d(info.channels, c_p, 3, padding=1, bias=False),
                nn.BatchNorm2d(c_p),
            )
            self.stem1 = nn.Identity()
        self.cells = nn.ModuleList()
        after_reduction = imagenet  # its two stem outputs differ in size as after a reduction
        for number in range(config.cells):
            reduction = number in reductions
            channels *= 2 if reduction else 1
            self.cells.append(
                DartsCell(config, c_pp, c_p, channels, reduction=reduction, after_reduction=after_reduction)
            )
            c_pp, c_p = c_p, config.nodes * channels
            after_reduction = reduction
        self.classifier = nn.Linear(c_p, info.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Classify ``(B, C, H, W)`` images: ``(B, classes)`` logits."""
        s0 = self.stem0(x)
        s1 = self.stem1(s0)
        for cell in self.cells:
            s0, s1 = s1, cell(s0, s1)
        logits: Tensor = self.classifier(s1.mean((2, 3)))
        return logits


def build(info: DataInfo, config: DartsSpaceConfig) -> DartsNetwork:
    """Build the supernet, or with ``phase="retrain"`` the network that is frozen to be retrained.

    Raises:
        SpaceError: The image is too small for the depth, or there are too few cells for the reductions.
    """
    return DartsNetwork(info, config)


def _stem(info: DataInfo, config: DartsSpaceConfig) -> str:
    large = min(info.height, info.width) >= IMAGENET_STEM_FROM
    stem = config.stem if config.stem != "auto" else "imagenet" if large else "cifar"
    if stem == "imagenet" and config.channels < 2:
        raise SpaceError("space.channels must be 2 at least with the imagenet stem, which starts with half of them")
    return stem


def _reductions(info: DataInfo, config: DartsSpaceConfig) -> int:
    """Return the number of reduction cells, after checking it against depth and image size."""
    stem = _stem(info, config)
    side = -(-min(info.height, info.width) // (8 if stem == "imagenet" else 1))
    size = f"an image of {info.height}x{info.width} pixels"
    if side < SMALLEST_MAP:
        raise SpaceError(
            f"{size} is too small for the DARTS space with the {stem} stem; set dataset.image_size to enlarge it"
        )
    most, left = 0, side
    while -(-left // 2) >= SMALLEST_MAP:
        most, left = most + 1, -(-left // 2)
    deepest = config.cells - 1  # a normal cell comes first
    if config.reductions is None:
        return min(2, most, deepest)
    if config.reductions > most:
        raise SpaceError(
            f"{size} is too small for {config.reductions} reduction cells: {most} at most."
            " Set space.reductions lower, or dataset.image_size to enlarge it"
        )
    positions = reduction_positions(config.cells, config.reductions)
    if len(set(positions)) < config.reductions or 0 in positions:
        raise SpaceError(
            f"{config.cells} cells are too few for {config.reductions} reduction cells:"
            f" set space.cells to {config.reductions + 1} or more"
        )
    return config.reductions
