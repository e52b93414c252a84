"""The chain space: the smallest complete example of a model with choices, written as a user would write his own.

Each block chooses the kernel size of its convolution, and which of the earlier blocks are added to what comes out.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from nasreg.nn import InputChoice, LayerChoice
from nasreg.spaces.config import ChainSpaceConfig
from nasreg.spaces.operations import relu_conv_bn
from nasreg.specs.data import DataInfo


class ChainNetwork(nn.Module):
    """``(B, C, H, W)`` images to ``(B, classes)`` logits."""

    def __init__(self, info: DataInfo, config: ChainSpaceConfig) -> None:
        super().__init__()
        self.memory_format: torch.memory_format | None = None
        width = config.channels
        self.stem = nn.Conv2d(info.channels, width, 3, padding=1)
        self.convs = nn.ModuleList()
        self.skips = nn.ModuleList()
        for block in range(config.blocks):
            convolutions = {
                f"conv{size}x{size}": partial(relu_conv_bn, width, width, size, padding=size // 2, affine=True)
                for size in config.kernels
            }
            self.convs.append(LayerChoice(convolutions, key=f"conv{block}"))
            self.skips.append(InputChoice(block + 1, n_chosen=None, key=f"skip{block}"))
        self.classifier = nn.Linear(width, info.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Classify ``(B, C, H, W)`` images: ``(B, classes)`` logits."""
        if self.memory_format is not None:
            x = x.contiguous(memory_format=self.memory_format)
        states = [self.stem(x)]
        for conv, skip in zip(self.convs, self.skips, strict=True):
            states.append(conv(states[-1]) + skip(states))
        logits: Tensor = self.classifier(states[-1].mean((2, 3)))
        return logits


def build(info: DataInfo, config: ChainSpaceConfig) -> ChainNetwork:
    """Build the model with its choices."""
    return ChainNetwork(info, config)
