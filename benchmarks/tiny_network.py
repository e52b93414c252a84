"""The network of NAS-Bench-201 under the names of its authors' program (``TinyNetwork`` of AutoDL-Projects)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = sorted(((target, source) for source, target in combinations(range(4), 2)))
"""Target and source of each of the six edges of a cell."""


class _ReluConvBn(nn.Module):
    def __init__(self, before: int, after: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
        self.op = nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.op(x)
        return output


class _Zero(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 0.0


class _Cell(nn.Module):
    def __init__(self, channels: int, operations: Sequence[int]) -> None:
        super().__init__()
        makers = (
            _Zero,
            nn.Identity,
            lambda: _ReluConvBn(channels, channels, 1),
            lambda: _ReluConvBn(channels, channels, 3),
            lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        )
        self.layers = nn.ModuleList([makers[operation]() for operation in operations])

    def forward(self, x: Tensor) -> Tensor:
        nodes = [x]
        for node in range(1, 4):
            edges = [
                (source, layer) for (target, source), layer in zip(EDGES, self.layers, strict=True) if target == node
            ]
            nodes.append(torch.stack([layer(nodes[source]) for source, layer in edges]).sum(0))
        return nodes[-1]


class _Reduction(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv_a, self.conv_b = _ReluConvBn(before, after, 3, 2), _ReluConvBn(after, after, 3)
        self.downsample = nn.Sequential(nn.AvgPool2d(2, 2), nn.Conv2d(before, after, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.downsample(x) + self.conv_b(self.conv_a(x))
        return output


class TinyNetwork(nn.Module):
    """A network of three stages of cells with two residual blocks between them.

    Args:
        channels: C, channels of the first stage.
        cells: N, cells of a stage.
        classes: Number of classes.
        operations: Index of the operation of each edge; see ``OPERATIONS``.
    """

    def __init__(self, channels: int, cells: int, classes: int, operations: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        blocks: list[nn.Module] = []
        for width in (channels, 2 * channels, 4 * channels):
            if blocks:
                blocks.append(_Reduction(width // 2, width))
            blocks += [_Cell(width, operations) for _ in range(cells)]
        self.cells = nn.ModuleList(blocks)
        self.lastact = nn.Sequential(nn.BatchNorm2d(4 * channels), nn.ReLU(inplace=True))
        self.global_pooling = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(4 * channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(B, classes)``."""
        x = self.stem(x)
        for cell in self.cells:
            x = cell(x)
        logits: Tensor = self.classifier(self.global_pooling(self.lastact(x)).flatten(1))
        return logits
