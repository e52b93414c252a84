"""The search space of NAS-Bench-201 (Dong, Yang, arXiv 2001.00326): supernet and final network, as published.

A stem, three stages of N equal cells with C, 2C and 4C channels, a residual block of stride 2 between them, BatchNorm,
ReLU, pooling, a classifier. In a cell of an input and three nodes, every earlier state goes through one of five
operations into each node, ``none`` among them; the last node is the output. All cells share one decision.

The network is ``TinyNetwork`` of the authors' program (D-X-Y/AutoDL-Projects); in the phase ``search`` it is the
supernet of their one-shot searches, where the convolutions in cells have a bias and BatchNorm no parameters and no
statistics.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from nasreg.errors import SpaceError
from nasreg.nn import Cell
from nasreg.specs import NONE, DataInfo
from nasreg_nasbench201.config import SpaceConfig
from nasreg_nasbench201.strings import CELL, NODES, OPERATIONS


def relu_conv_bn(c_in: int, c_out: int, kernel: int, stride: int = 1, *, trained_norm: bool = True) -> nn.Sequential:
    """Return ReLU, convolution and BatchNorm: ``(B, c_in, H, W)`` to ``(B, c_out, H / stride, W / stride)``.

    Args:
        c_in: Channels of the input.
        c_out: Channels of the output.
        kernel: Size of the kernel, odd.
        stride: Stride.
        trained_norm: Whether BatchNorm has scale, shift and running statistics; without them the convolution has a
            bias, as in the authors' program.
    """
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, bias=not trained_norm),
        nn.BatchNorm2d(c_out, affine=trained_norm, track_running_stats=trained_norm),
    )


def make_operation(name: str, channels: int, *, trained_norm: bool) -> nn.Module:
    """Return a new operation: ``(B, C, H, W)`` to the same shape."""
    if name == "skip_connect":
        return nn.Identity()
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, 1, padding=1, count_include_pad=False)
    return relu_conv_bn(channels, channels, {"nor_conv_1x1": 1, "nor_conv_3x3": 3}[name], trained_norm=trained_norm)


def make_cell(channels: int, *, trained_norm: bool) -> Cell:
    """Return a cell: ``(B, C, H, W)`` to the same shape."""

    def make(name: str, source: int, node: int) -> nn.Module:
        del source, node
        return make_operation(name, channels, trained_norm=trained_norm)

    return Cell(
        {name: None if name == NONE else partial(make, name) for name in OPERATIONS},
        inputs=1,
        nodes=NODES,
        edges_kept=NODES,
        concat=[NODES],
        none_selectable=True,
        key=CELL,
    )


class ResidualBlock(nn.Module):
    """Two convolutions and a pooled shortcut: ``(B, C, H, W)`` to ``(B, 2C, H / 2, W / 2)``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_a = relu_conv_bn(channels, 2 * channels, 3, 2)
        self.conv_b = relu_conv_bn(2 * channels, 2 * channels, 3)
        self.downsample = nn.Sequential(nn.AvgPool2d(2, 2), nn.Conv2d(channels, 2 * channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Halve ``(B, C, H, W)``."""
        out: Tensor = self.downsample(x) + self.conv_b(self.conv_a(x))
        return out


class Network(nn.Module):
    """``(B, C, H, W)`` images to ``(B, classes)`` logits."""

    def __init__(self, info: DataInfo, config: SpaceConfig) -> None:
        super().__init__()
        self.memory_format: torch.memory_format | None = None
        channels = config.channels
        self.stem = nn.Sequential(
            nn.Conv2d(info.channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        self.cells = nn.ModuleList()
        for stage in range(3):
            if stage:
                self.cells.append(ResidualBlock(channels))
                channels *= 2
            self.cells.extend(make_cell(channels, trained_norm=config.phase == "retrain") for _ in range(config.cells))
        self.lastact = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        self.classifier = nn.Linear(channels, info.n_classes)

    def features(self, x: Tensor) -> Tensor:
        """Return the pooled features ``(B, 4C)`` of images."""
        if self.memory_format is not None:
            x = x.contiguous(memory_format=self.memory_format)
        x = self.stem(x)
        for cell in self.cells:
            x = cell(x)
        return self.lastact(x).mean((2, 3))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """Classify images."""
        logits: Tensor = self.classifier(self.features(x))
        return logits


def build(info: DataInfo, config: SpaceConfig) -> Network:
    """Build the supernet, or with ``phase="retrain"`` the network that is frozen to be trained.

    Raises:
        SpaceError: The sides of the images are not divisible by 4.
    """
    if info.height % 4 or info.width % 4:
        raise SpaceError(
            f"images of {info.height}x{info.width} pixels do not fit the space of NAS-Bench-201, which halves them"
            " twice: set dataset.image_size to a multiple of 4"
        )
    return Network(info, config)
