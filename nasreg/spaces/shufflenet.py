"""The ShuffleNet space: 20 blocks of ShuffleNetV2 (Ma et al., arXiv 1807.11164), each with one of four branches.

Guo et al.: Single Path One-Shot Neural Architecture Search with Uniform Sampling, arXiv 1904.00420, section 4 and the
authors' program. A block passes half of its channels on and computes the other half with a depthwise convolution of
kernel 3, 5 or 7 or with three of them as in Xception; the first of a stage computes both halves. ``widths`` adds the
choice of channels inside each branch (section 3.3). What differs: stem and strides adapt to the size of the images,
and a first block of a stage that does not halve the image has the same form with stride 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from types import ModuleType

import torch
from torch import Tensor, nn

import nasreg.nn as elastic
from nasreg.errors import SpaceError
from nasreg.nn import LayerChoice, Scope, ValueChoice
from nasreg.nn.value_choice import Value
from nasreg.spaces.config import ShuffleNetSpaceConfig
from nasreg.specs.data import DataInfo

STAGE_WIDTHS = (64, 160, 320, 640)
STEM_WIDTH, LAST_WIDTH = 16, 1024

SMALLEST_MAP = 4
"""By default no reduction leaves feature maps of fewer pixels a side than this."""

KERNELS = (3, 5, 7)
CANDIDATES = (*(f"shuffle_{kernel}x{kernel}" for kernel in KERNELS), "xception")
"""The candidates of each block, in the order of the authors' program."""


class Layers:
    """Makes the convolutions of a network: of torch, or elastic ones where a size is decided.

    Args:
        affine: Whether BatchNorm has scale and shift.
    """

    def __init__(self, *, affine: bool) -> None:
        self.affine = affine

    def pointwise(self, c_in: Value, c_out: Value) -> list[nn.Module]:
        """Return a 1x1 convolution, BatchNorm and ReLU: ``(B, c_in, H, W)`` to ``(B, c_out, H, W)``."""
        layers = _module(c_in, c_out)
        return [layers.Conv2d(c_in, c_out, 1, bias=False), layers.BatchNorm2d(c_out, affine=self.affine), nn.ReLU()]

    def depthwise(self, channels: Value, kernel: int, stride: int = 1) -> list[nn.Module]:
        """Return a convolution of each channel by itself, and BatchNorm: ``(B, C, H, W)`` to ``(B, C, H', W')``."""
        layers, padding = _module(channels), kernel // 2
        conv = layers.Conv2d(channels, channels, kernel, stride, padding, groups=channels, bias=False)
        return [conv, layers.BatchNorm2d(channels, affine=self.affine)]


def _module(*sizes: Value) -> ModuleType:
    return nn if all(isinstance(size, int) for size in sizes) else elastic


class ShuffleBlock(nn.Module):
    """A block of stride 1: half of the channels are passed on, the branch computes the others.

    ``(B, C, H, W)`` to the same shape. The halves are the channels of even and of odd number, which mixes the halves of
    the block before.
    """

    def __init__(self, branch: Iterable[nn.Module]) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block."""
        return torch.cat([x[:, ::2], self.branch(x[:, 1::2])], 1)


class FirstBlock(nn.Module):
    """The first block of a stage: a projection and the branch compute from all channels, and add up to the width.

    ``(B, C, H, W)`` to ``(B, C_out, ceil(H / stride), ceil(W / stride))``.
    """

    def __init__(self, projection: Iterable[nn.Module], branch: Iterable[nn.Module]) -> None:
        super().__init__()
        self.projection = nn.Sequential(*projection)
        self.branch = nn.Sequential(*branch)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block."""
        return torch.cat([self.projection(x), self.branch(x)], 1)


def candidate(name: str, c_in: int, c_out: int, inside: Value, stride: int, *, first: bool, affine: bool) -> nn.Module:
    """Return a candidate of a block.

    Args:
        name: Of ``CANDIDATES``.
        c_in: Channels of its input.
        c_out: Channels of its output.
        inside: Channels inside of the branch.
        stride: Its stride.
        first: Whether it is the first of a stage.
        affine: Whether BatchNorm has scale and shift.
    """
    make = Layers(affine=affine)
    source = c_in if first else c_in // 2
    kernel = 3 if name == "xception" else KERNELS[CANDIDATES.index(name)]
    if name == "xception":
        branch = [
            *(*make.depthwise(source, 3, stride), *make.pointwise(source, inside)),
            *(*make.depthwise(inside, 3), *make.pointwise(inside, inside)),
            *(*make.depthwise(inside, 3), *make.pointwise(inside, c_out - source)),
        ]
    else:
        branch = [
            *make.pointwise(source, inside),
            *make.depthwise(inside, kernel, stride),
            *make.pointwise(inside, c_out - source),
        ]
    if not first:
        return ShuffleBlock(branch)
    return FirstBlock([*make.depthwise(c_in, kernel, stride), *make.pointwise(c_in, c_in)], branch)


class BlockChoice(LayerChoice):
    """A choice of a candidate whose channels are a choice, too, which all candidates share."""

    may_nest = True

    def __init__(self, candidates: dict[str, partial[nn.Module]], inside: ValueChoice, key: str) -> None:
        super().__init__(candidates, key)
        self.inside = inside  # found here also where candidates are built later

    def used_modules(self, decision: str) -> list[nn.Module]:
        """Return the chosen candidate."""
        return [self.candidates[decision]]


class ShuffleNetwork(nn.Module):
    """Stem, stages of blocks, a last convolution, global average pooling, classifier.

    ``(B, C, H, W)`` images to ``(B, classes)`` logits.
    """

    def __init__(self, info: DataInfo, config: ShuffleNetSpaceConfig) -> None:
        super().__init__()
        self.memory_format: torch.memory_format | None = None
        affine, factor = config.phase == "retrain", config.channels / STEM_WIDTH
        stem_stride, *strides = _strides(info, config)
        self.stem = nn.Sequential(
            nn.Conv2d(info.channels, config.channels, 3, stem_stride, 1, bias=False),
            nn.BatchNorm2d(config.channels, affine=affine),
            nn.ReLU(),
        )
        self.stages = nn.Sequential()
        c_in = config.channels
        for stage, stride in enumerate(strides):
            c_out = max(4 * round(STAGE_WIDTHS[stage] * factor / 4), 4, c_in + 4 - c_in % 4)
            blocks = nn.Sequential()
            for index in range(config.blocks if isinstance(config.blocks, int) else config.blocks[stage]):
                source, step = (c_out, 1) if index else (c_in, stride)
                blocks.append(_block(config, index, source, c_out, step))
            self.stages.append(Scope(f"stage{stage + 1}", blocks))
            c_in = c_out
        last = max(1, round(LAST_WIDTH * factor))
        self.last = nn.Sequential(nn.Conv2d(c_in, last, 1, bias=False), nn.BatchNorm2d(last, affine=affine), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(last, info.n_classes, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Classify ``(B, C, H, W)`` images: ``(B, classes)`` logits."""
        if self.memory_format is not None:
            x = x.contiguous(memory_format=self.memory_format)
        logits: Tensor = self.head(self.last(self.stages(self.stem(x))).mean((2, 3)))
        return logits


def _block(config: ShuffleNetSpaceConfig, index: int, c_in: int, c_out: int, stride: int) -> nn.Module:
    sizes = tuple(dict.fromkeys(max(1, int(c_out // 2 * width)) for width in config.widths))
    inside = sizes[0] if len(sizes) == 1 else ValueChoice(sizes, key=f"width{index}")
    affine = config.phase == "retrain"
    candidates = {
        name: partial(candidate, name, c_in, c_out, inside, stride, first=index == 0, affine=affine)
        for name in CANDIDATES
    }
    key = f"block{index}"
    return BlockChoice(candidates, inside, key) if isinstance(inside, ValueChoice) else LayerChoice(candidates, key)


def build(info: DataInfo, config: ShuffleNetSpaceConfig) -> ShuffleNetwork:
    """Build the supernet, or with ``phase="retrain"`` the network that is frozen to be retrained.

    Raises:
        SpaceError: There are too few stages for the reductions.
    """
    return ShuffleNetwork(info, config)


def _strides(info: DataInfo, config: ShuffleNetSpaceConfig) -> list[int]:
    """Return the strides of the stem and of the stages."""
    places = config.stages + 1
    reductions, side = config.reductions, min(info.height, info.width)
    if reductions is None:
        reductions = 0
        while reductions < places and -(-side // 2) >= SMALLEST_MAP:
            reductions, side = reductions + 1, -(-side // 2)
    if reductions > places:
        raise SpaceError(
            f"space.reductions={reductions} is more than the stem and {config.stages} stages can do: {places} at most"
        )
    return [1] * (places - reductions) + [2] * reductions
