"""The elastic chain: convolution blocks whose number, widths, kernel sizes, strides and skip connections are decided.

It is the space of searches that grow a network step by step: network morphism (arXiv 1711.04528; Auto-Keras, arXiv
1806.10282) inserts and widens layers and adds skip connections, large-scale evolution (arXiv 1703.01041) also removes
them and alters kernel sizes and strides. A block can be inserted at any place: the decisions of the blocks after it
move up by one. Decisions of blocks beyond the depth have no effect.

A block is Conv-BatchNorm-ReLU. The outputs of earlier blocks may join it between BatchNorm and ReLU, as in Auto-Keras:
``add`` adds a 1x1 convolution of the earlier output, ``concat`` is a 1x1 convolution of the concatenation of both. So
every output is that of a ReLU, through which an inserted block can pass it unchanged. A skip connection over blocks
with strides has their product as its own stride.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import nasreg.nn as elastic
from nasreg.nn import Repeat, ValueChoice
from nasreg.nn.answers import named_weights
from nasreg.nn.choices import Choice, checked
from nasreg.nn.value_choice import Value
from nasreg.spaces.config import ElasticChainSpaceConfig
from nasreg.specs.choices import InputChoiceSpec
from nasreg.specs.data import DataInfo


class AddSkip(nn.Module):
    """Adds a 1x1 convolution of an earlier output."""

    def __init__(self, source: Value, width: Value, stride: Value) -> None:
        super().__init__()
        self.project = elastic.Conv2d(source, width, 1, stride=stride, bias=False)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Join ``(B, width, H, W)`` with the earlier output: ``(B, width, H, W)``."""
        joined: Tensor = x + self.project(source)
        return joined


class ConcatSkip(AddSkip):
    """Computes a 1x1 convolution of the concatenation with an earlier output, as the sum of those of both parts."""

    def __init__(self, source: Value, width: Value, stride: Value) -> None:
        super().__init__(source, width, stride)
        self.mix = elastic.Conv2d(width, width, 1, bias=False)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Join ``(B, width, H, W)`` with the earlier output: ``(B, width, H, W)``."""
        return super().forward(self.mix(x), source)


KINDS = {"add": AddSkip, "concat": ConcatSkip}


class Skips(nn.ModuleDict):
    """Skip connections by name, such as ``add0`` from block 0; they are computed one after the other."""

    def forward(self, x: Tensor, states: Sequence[Tensor]) -> Tensor:
        """Join the output of BatchNorm with outputs of earlier blocks."""
        for name, join in self.items():
            x = join(x, states[source_block(name) + 1])  # the images are the first state
        return x


def source_block(name: str) -> int:
    """Return the number of the block that a skip connection starts from."""
    return int(name.lstrip("adcont"))


class SkipChoice(Choice):
    """A choice of any of the skip connections that lead to a block; each has weights of its own.

    Args:
        kinds: Kinds of connections, of ``KINDS``.
        widths: The widths of the earlier blocks, and that of this one last.
        strides: The strides of the blocks after the first one, that of this one last.
        key: Name of the decision.
    """

    may_nest = True  # the sizes of the connections are choices

    def __init__(self, kinds: Sequence[str], widths: Sequence[Value], strides: Sequence[Value], key: str) -> None:
        super().__init__(key)
        self.connections = Skips()
        *sources, width = widths
        for block, source in enumerate(sources):
            stride: Value = 1
            for each in strides[block:]:
                stride = each * stride
            for kind in kinds:
                self.connections[f"{kind}{block}"] = KINDS[kind](source, width, stride)

    def compute(self, answer: Any, x: Tensor, states: Sequence[Tensor]) -> Any:
        """Join the chosen earlier outputs. A weight of a connection is that of the change that it makes.

        Raises:
            SpaceError: Weights do not fit.
        """
        if not isinstance(answer, Tensor | Mapping):
            return self.materialize(answer)(x, states)
        for name, weight in named_weights(self.label, tuple(self.connections), answer):
            joined = self.connections[name](x, states[source_block(name) + 1])
            x = x + weight * (joined - x)
        return x

    def spec(self, key: str, paths: tuple[str, ...]) -> InputChoiceSpec:
        """Return the description of this choice under its full key."""
        return checked(InputChoiceSpec, key=key, paths=paths, candidates=tuple(self.connections), n_chosen=None)

    def used_modules(self, decision: Sequence[str]) -> list[nn.Module]:
        """Return the chosen connections."""
        return [join for name, join in self.connections.items() if name in decision]

    def materialize(self, decision: Sequence[str]) -> nn.Module:
        """Return the chosen connections, which are computed in the order of their blocks, whatever that of names."""
        return Skips({name: join for name, join in self.connections.items() if name in decision})


class ElasticBlock(nn.Module):
    """Conv-BatchNorm-ReLU with skip connections from earlier blocks; takes and returns all outputs so far."""

    def __init__(self, index: int, source: Value, kernel: Value, stride: Value, width: Value) -> None:
        super().__init__()
        self.index = index
        self.conv = elastic.Conv2d(source, width, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.norm = elastic.BatchNorm2d(width)
        self.skips: SkipChoice | None = None

    def forward(self, states: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Compute the block from the images and the outputs of all blocks before it."""
        before = [states[number] for number in range(self.index + 1)]
        x = self.norm(self.conv(before[-1]))
        if self.skips is not None:
            x = self.skips(x, before)
        return (*before, torch.relu(x))


class ChainHead(nn.Module):
    """Global average pooling of the last output, and a linear classifier."""

    def __init__(self, width: Value, n_classes: int) -> None:
        super().__init__()
        self.classifier = elastic.Linear(width, n_classes)

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """Classify: ``(B, classes)`` logits."""
        logits: Tensor = self.classifier(states[-1].mean((2, 3)))
        return logits


class ElasticChainNetwork(nn.Module):
    """``(B, C, H, W)`` images to ``(B, classes)`` logits."""

    def __init__(self, info: DataInfo, config: ElasticChainSpaceConfig) -> None:
        super().__init__()
        self.memory_format: torch.memory_format | None = None
        numbers = range(config.blocks)
        widths = [ValueChoice(config.widths, key=f"width{number}") for number in numbers]
        kernels = [ValueChoice(config.kernels, key=f"kernel{number}") for number in numbers]
        strides = [ValueChoice(config.strides, key=f"stride{number}") for number in numbers]

        def block(index: int) -> ElasticBlock:
            source: Value = widths[index - 1] if index else info.channels
            made = ElasticBlock(index, source, kernels[index], strides[index], widths[index])
            if index and config.skips:
                made.skips = SkipChoice(config.skips, widths[: index + 1], strides[1 : index + 1], f"skips{index}")
            return made

        self.chain = Repeat(
            block,
            depths=range(1, config.blocks + 1),
            key="depth",
            heads=lambda depth: ChainHead(widths[depth - 1], info.n_classes),
        )

    def forward(self, x: Tensor) -> Any:
        """Classify ``(B, C, H, W)`` images: ``(B, classes)`` logits."""
        if self.memory_format is not None:
            x = x.contiguous(memory_format=self.memory_format)
        return self.chain((x,))


def build(info: DataInfo, config: ElasticChainSpaceConfig) -> ElasticChainNetwork:
    """Build the model with its choices."""
    return ElasticChainNetwork(info, config)
