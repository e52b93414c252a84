"""Layers of both spaces: of the authors' program, ``melodyguan/enas``, ``src/cifar10``. No convolution has a bias."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasreg.nn import AfterLooseEnds, Cell, UnlessOneLooseEnd


class Source(NamedTuple):
    """What a layer reads: the stem, or the output of a cell."""

    channels: int
    halvings: int = 0
    """How often height and width were halved since the stem."""
    cell: Cell | None = None
    """The cell whose loose ends it is."""

    def layer(self, layer: nn.Module) -> nn.Module:
        """Return a convolution or linear layer as one that reads it."""
        return layer if self.cell is None else AfterLooseEnds(self.cell, layer)

    def conv(self, channels: int, stride: int = 1) -> nn.Module:
        """Return a 1x1 convolution that reads it."""
        return self.layer(nn.Conv2d(self.channels, channels, 1, stride, bias=False))

    def relu_conv_bn(self, channels: int) -> nn.Sequential:
        """Return ReLU, a 1x1 convolution that reads it, and BatchNorm."""
        return nn.Sequential(nn.ReLU(), self.conv(channels), nn.BatchNorm2d(channels))

    def to_channels(self, channels: int) -> nn.Module:
        """Return ``relu_conv_bn``, or the identity where it has so many channels already."""
        if self.cell is not None and self.channels == channels * len(self.cell.spec("cell", ()).concat):
            return UnlessOneLooseEnd(self.cell, self.relu_conv_bn(channels))
        return nn.Identity() if self.channels == channels and self.cell is None else self.relu_conv_bn(channels)


class FactorizedReduction(nn.Module):
    """Halves height and width by two 1x1 convolutions of stride 2, one of which reads the image shifted by a pixel.

    ``(B, source.channels, H, W)`` to ``(B, channels, ceil(H / 2), ceil(W / 2))``.

    Args:
        source: What it reads.
        channels: Channels of the output.
        relu: Whether a ReLU comes first.
    """

    def __init__(self, source: Source, channels: int, *, relu: bool = False) -> None:
        super().__init__()
        self.relu = nn.ReLU() if relu else nn.Identity()
        self.conv_1 = source.conv(channels // 2, 2)
        self.conv_2 = source.conv(channels - channels // 2, 2)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Reduce ``(B, C, H, W)``."""
        x = self.relu(x)
        reduced: Tensor = self.bn(torch.cat([self.conv_1(x), self.conv_2(F.pad(x, (-1, 1, -1, 1)))], 1))
        return reduced


def pool(name: str, stride: int = 1) -> nn.Module:
    """Return the pooling ``avg_pool_3x3`` or ``max_pool_3x3``."""
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride, 1, count_include_pad=False)
    return nn.MaxPool2d(3, stride, 1)


def conv_bn(c_in: int, c_out: int, kernel: int = 1) -> list[nn.Module]:
    """Return a convolution and its BatchNorm."""
    return [nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(c_out)]


def separable(channels: int, kernel: int, stride: int) -> nn.Sequential:
    """Return ReLU, a depthwise and a 1x1 convolution and BatchNorm, twice, the second time with stride 1."""
    layers: list[nn.Module] = []
    for step in (stride, 1):
        depthwise = nn.Conv2d(channels, channels, kernel, step, kernel // 2, groups=channels, bias=False)
        layers += [nn.ReLU(), depthwise, *conv_bn(channels, channels)]
    return nn.Sequential(*layers)


def stem(channels_in: int, channels: int) -> nn.Sequential:
    """Return the stem: a 3x3 convolution and BatchNorm."""
    return nn.Sequential(*conv_bn(channels_in, channels, 3))
