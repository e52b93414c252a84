"""The DARTS cell space: a stem, a stack of cells, a classifier (Liu, Simonyan, Yang, arXiv 1806.09055).

All normal cells share one decision (key ``normal``), all reduction cells another (``reduce``). Reduction cells sit at
one and two thirds of the depth. What differs from the paper: stem, number of reductions and auxiliary head adapt to the
size of the images.

In the phase ``retrain`` each operation but a skip connection of stride 1 is followed by a ``StochasticDepth`` per image
(the papers' drop-path) with a rate of 0, which whoever trains the network may raise.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

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
            operation = OPERATIONS[name](channels, 2 if reduction and source < 2 else 1, affine=affine)
            if config.phase == "search" or isinstance(operation, nn.Identity):
                return operation
            return nn.Sequential(operation, StochasticDepth(0.0, mode="row"))

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


def pool_to_2x2(sides: tuple[int, int]) -> nn.AvgPool2d:
    """Return what computes ``AdaptiveAvgPool2d(2)``, whose backward pass is not deterministic on CUDA.

    Along a side of n pixels its windows are [0, ceil(n / 2)) and [floor(n / 2), n).

    Args:
        sides: Height and width of the map.
    """
    down, across = ((-(-side // 2), side // 2, 0) if side > 1 else (2, 1, 1) for side in sides)
    kernel, stride, padding = ((down[i], across[i]) for i in range(3))
    return nn.AvgPool2d(kernel, stride, padding, count_include_pad=False)


def auxiliary_head(channels: int, sides: tuple[int, int], classes: int, *, imagenet: bool) -> nn.Sequential:
    """Return a second classifier on a feature map in the middle of the network, as the authors' program has it.

    ``(B, C, H, W)`` to ``(B, classes)``. The program is for maps of 8x8 (CIFAR) or 7x7 (ImageNet); maps of other sizes
    are pooled to the 2x2 that its last convolution takes.

    Args:
        channels: Of the map.
        sides: Height and width of the map.
        classes: Number of classes.
        imagenet: Whether it is the one for ImageNet: other stride, and no BatchNorm after the last convolution.
    """
    stride = 2 if imagenet else 3
    pools: list[nn.Module] = []
    if min(sides) >= 5:
        pools.append(nn.AvgPool2d(5, stride, padding=0, count_include_pad=False))
        sides = ((sides[0] - 5) // stride + 1, (sides[1] - 5) // stride + 1)
    if sides != (2, 2):
        pools.append(pool_to_2x2(sides))
    return nn.Sequential(
        nn.ReLU(),
        *pools,
        nn.Conv2d(channels, 128, 1, bias=False),
        nn.BatchNorm2d(128),
        nn.ReLU(),
        nn.Conv2d(128, 768, 2, bias=False),
        *([] if imagenet else [nn.BatchNorm2d(768)]),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(768, classes),
    )


class DartsNetwork(nn.Module):
    """Stem, cells, global average pooling, linear classifier.

    ``(B, C, H, W)`` images to ``(B, classes)`` logits; with the auxiliary head to a pair of them, with
    ``features_only`` to a list of feature maps.
    """

    def __init__(self, info: DataInfo, config: DartsSpaceConfig) -> None:
        super().__init__()
        self.memory_format: torch.memory_format | None = None
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
        sides = (info.height, info.width)
        for _ in range(3 if imagenet else 0):
            sides = _halved(sides)
        self.cells = nn.ModuleList()
        self.auxiliary_at = 2 * config.cells // 3 if config.auxiliary else None
        self.reductions = tuple(reductions)
        after_reduction = imagenet  # its two stem outputs differ in size as after a reduction
        for number in range(config.cells):
            reduction = number in reductions
            channels *= 2 if reduction else 1
            self.cells.append(
                DartsCell(config, c_pp, c_p, channels, reduction=reduction, after_reduction=after_reduction)
            )
            sides = _halved(sides) if reduction else sides
            c_pp, c_p = c_p, config.nodes * channels
            after_reduction = reduction
            if number == self.auxiliary_at:
                self.auxiliary_head = auxiliary_head(c_p, sides, info.n_classes, imagenet=imagenet)
        self.classifier = None if config.features_only else nn.Linear(c_p, info.n_classes)

    def forward(self, x: Tensor) -> Any:
        """Compute logits, a pair of logits, or feature maps, of ``(B, C, H, W)`` images."""
        if self.memory_format is not None:
            x = x.contiguous(memory_format=self.memory_format)
        s0 = self.stem0(x)
        s1 = self.stem1(s0)
        maps: list[Tensor] = []
        auxiliary: Tensor | None = None
        for number, cell in enumerate(self.cells):
            if number in self.reductions:
                maps.append(s1)
            s0, s1 = s1, cell(s0, s1)
            if number == self.auxiliary_at:
                auxiliary = self.auxiliary_head(s1)
        if self.classifier is None:
            return [*maps, s1]
        logits = self.classifier(s1.mean((2, 3)))
        return logits if auxiliary is None else (logits, auxiliary)


def build(info: DataInfo, config: DartsSpaceConfig) -> DartsNetwork:
    """Build the supernet, or with ``phase="retrain"`` the network that is frozen to be retrained.

    Raises:
        SpaceError: The image is too small for the depth, or there are too few cells for the reductions.
    """
    return DartsNetwork(info, config)


def _halved(sides: tuple[int, int]) -> tuple[int, int]:
    return (-(-sides[0] // 2), -(-sides[1] // 2))


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
