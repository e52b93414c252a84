"""The mobile space: stages of inverted residual blocks, whose kernel sizes, expansions, number and widths are decided.

A block expands its channels, convolves each by itself, and projects them back (Sandler et al.: MobileNetV2, arXiv
1801.04381). The default is the space of Cai, Zhu, Han: ProxylessNAS, arXiv 1812.00332, section 4.2, as in the authors'
program: each block is one of several kernel sizes and expansions with weights of its own, and all but the first of a
stage may be skipped. With ``choices="elastic"`` all of them share one largest weight, and depths and widths of stages
are decided, too (Cai et al.: Once-for-All, arXiv 1908.09791, without its kernel transforms). The form ``v3`` has the
stages, squeeze-and-excitation, activations and head of MobileNetV3-Large (Howard et al., arXiv 1905.02244).

What differs from the papers: stem and strides adapt to the size of the images, and BatchNorm has torch's defaults.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

import nasreg.nn as elastic
from nasreg.errors import SpaceError
from nasreg.nn import LayerChoice, Repeat, Scope, ValueChoice
from nasreg.nn.candidates import ModuleFactory
from nasreg.nn.value_choice import Value
from nasreg.spaces.config import MobileNetSpaceConfig
from nasreg.specs.data import DataInfo

IMAGENET_STEM_FROM = 96
"""Images with a shorter side below this many pixels get a stem of stride 1."""

SMALLEST_MAP = 4
"""By default no stage reduces feature maps to fewer pixels a side than this."""

SKIP = "skip"
"""The candidate that leaves a block out."""


class Stage(NamedTuple):
    """A published stage of blocks."""

    width: int
    """Channels of its output."""
    blocks: int | None
    """Largest number of its blocks; None for the option."""
    stride: int
    excitation: bool = False
    """Whether its blocks have squeeze-and-excitation."""
    activation: type[nn.Module] = nn.ReLU6


class Form(NamedTuple):
    """A published network around the choices."""

    stem: int
    first: int
    """Channels of the first block, which is the same in every architecture."""
    head: int
    """Channels of the last convolution."""
    hidden: int | None
    """Features between two linear layers of the classifier; None for one linear layer."""
    stages: tuple[Stage, ...]
    stem_activation: type[nn.Module]
    head_activation: type[nn.Module]
    first_activation: type[nn.Module]


FORMS = {
    "v2": Form(
        stem=32,
        first=16,
        head=1280,
        hidden=None,
        stages=(
            Stage(24, None, 2),
            Stage(40, None, 2),
            Stage(80, None, 2),
            Stage(96, None, 1),
            Stage(192, None, 2),
            Stage(320, 1, 1),
        ),
        stem_activation=nn.ReLU6,
        head_activation=nn.ReLU6,
        first_activation=nn.ReLU6,
    ),
    "v3": Form(
        stem=16,
        first=16,
        head=960,
        hidden=1280,
        stages=(
            Stage(24, None, 2, activation=nn.ReLU),
            Stage(40, None, 2, excitation=True, activation=nn.ReLU),
            Stage(80, None, 2, activation=nn.Hardswish),
            Stage(112, None, 1, excitation=True, activation=nn.Hardswish),
            Stage(160, None, 2, excitation=True, activation=nn.Hardswish),
        ),
        stem_activation=nn.Hardswish,
        head_activation=nn.Hardswish,
        first_activation=nn.ReLU,
    ),
}
"""The stages of ProxylessNAS (the authors' program) and of MobileNetV3-Large (its table 1)."""


def divisible(channels: float, by: int = 8) -> int:
    """Return the multiple of a number that is nearest to a width, and no less than 90% of it, as MobileNets have it."""
    rounded = max(by, int(channels + by / 2) // by * by)
    return rounded if rounded >= 0.9 * channels else rounded + by


def conv_norm(
    layers: ModuleType, c_in: Value, c_out: Value, kernel: Value, *, stride: int = 1, groups: Value = 1
) -> list[nn.Module]:
    """Return a convolution and BatchNorm: ``(B, c_in, H, W)`` to ``(B, c_out, ceil(H / stride), ceil(W / stride))``.

    Args:
        layers: ``torch.nn``, or ``nasreg.nn`` where a size is decided.
        c_in: Channels of the input.
        c_out: Channels of the output.
        kernel: Kernel size, odd.
        stride: Stride.
        groups: Groups.
    """
    conv = layers.Conv2d(c_in, c_out, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
    return [conv, layers.BatchNorm2d(c_out)]


class SqueezeExcitation(nn.Module):
    """Scales each channel by a function of the means of all (arXiv 1709.01507), with the gate of MobileNetV3."""

    def __init__(self, layers: ModuleType, channels: Value, squeezed: Value) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            layers.Conv2d(channels, squeezed, 1), nn.ReLU(), layers.Conv2d(squeezed, channels, 1), nn.Hardsigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of ``(B, C, H, W)``."""
        scaled: Tensor = x * self.gate(x.mean((2, 3), keepdim=True))
        return scaled


class InvertedResidual(nn.Module):
    """An inverted residual block: ``(B, c_in, H, W)`` to ``(B, c_out, ceil(H / stride), ceil(W / stride))``.

    Args:
        c_in: Channels of the input.
        c_out: Channels of the output.
        kernel: Size of the kernel.
        hidden: Channels between; None for a block that does not expand.
        stage: What the blocks of its stage have.
        stride: Its stride.
        shortcut: Whether the input is added to the output.
        drop_path: Whether training may drop what is added to the input.
    """

    def __init__(
        self,
        c_in: Value,
        c_out: Value,
        kernel: Value,
        hidden: Value | None,
        stage: Stage,
        *,
        stride: int = 1,
        shortcut: bool = False,
        drop_path: bool = False,
    ) -> None:
        super().__init__()
        layers = nn if all(isinstance(size, int | None) for size in (c_in, c_out, kernel, hidden)) else elastic
        steps: list[nn.Module] = []
        if hidden is not None:
            steps += [*conv_norm(layers, c_in, hidden, 1), stage.activation()]
        between = c_in if hidden is None else hidden
        steps += [*conv_norm(layers, between, between, kernel, stride=stride, groups=between), stage.activation()]
        if stage.excitation:
            squeezed = divisible(between / 4) if isinstance(between, int) else between // 4
            steps.append(SqueezeExcitation(layers, between, squeezed))
        steps += conv_norm(layers, between, c_out, 1)
        if drop_path and shortcut:
            steps.append(StochasticDepth(0.0, mode="row"))
        self.body = nn.Sequential(*steps)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block."""
        y: Tensor = self.body(x)
        return x + y if self.shortcut else y

    def extra_repr(self) -> str:
        """Return whether the input is added."""
        return f"shortcut={self.shortcut}"


class MobileNetwork(nn.Module):
    """Stem, first block, stages, last convolution, global average pooling, classifier.

    ``(B, C, H, W)`` images to ``(B, classes)`` logits.
    """

    def __init__(self, info: DataInfo, config: MobileNetSpaceConfig) -> None:
        super().__init__()
        self.memory_format: torch.memory_format | None = None
        form = FORMS[config.form]
        stem_channels = config.channels or form.stem
        factor = stem_channels / form.stem
        stages = form.stages[: config.stages]
        widths = _widths(config, stages, factor)
        strides = _strides(info, config, stages)
        first = divisible(form.first * factor)
        self.stem = nn.Sequential(
            *conv_norm(nn, info.channels, stem_channels, 3, stride=strides[0]), form.stem_activation()
        )
        stage = Stage(first, 1, 1, activation=form.first_activation)
        drop_path = config.phase == "retrain"
        shortcut = first == stem_channels
        self.first = InvertedResidual(stem_channels, first, 3, None, stage, shortcut=shortcut, drop_path=drop_path)
        self.stages = nn.Sequential()
        c_in: Value = first
        for number, (stage, choices, stride) in enumerate(zip(stages, widths, strides[1:], strict=True), 1):
            width: Value = choices[0] if len(choices) == 1 else ValueChoice(choices, key="width")
            make = _layers if config.choices == "layers" else _elastic
            blocks = make(config, stage._replace(stride=stride), c_in, width)
            self.stages.append(Scope(f"stage{number}", blocks))
            c_in = width
        self.head = _head(info, config, form, c_in, factor)

    def forward(self, x: Tensor) -> Tensor:
        """Classify ``(B, C, H, W)`` images: ``(B, classes)`` logits."""
        if self.memory_format is not None:
            x = x.contiguous(memory_format=self.memory_format)
        logits: Tensor = self.head(self.stages(self.first(self.stem(x))))
        return logits


def build(info: DataInfo, config: MobileNetSpaceConfig) -> MobileNetwork:
    """Build the model with its choices.

    Raises:
        SpaceError: There are too many reductions for the stages.
    """
    return MobileNetwork(info, config)


def candidate_name(kernel: int, expansion: float) -> str:
    """Return the name of a candidate, such as ``k3_e6``."""
    return f"k{kernel}_e{expansion:g}".replace(".", "_")


def _layers(config: MobileNetSpaceConfig, stage: Stage, c_in: Value, width: Value) -> nn.Module:
    """Return a stage of layer choices."""
    blocks: list[nn.Module] = []
    for index in range(stage.blocks or config.blocks):
        if not isinstance(c_in, int) or not isinstance(width, int):
            raise TypeError("layers have fixed widths")
        candidates: dict[str, ModuleFactory] = {}
        for expansion in config.expansions:
            hidden = None if expansion == 1 else divisible(c_in * expansion)
            for kernel in config.kernels:
                candidates[candidate_name(kernel, expansion)] = partial(
                    InvertedResidual,
                    c_in,
                    width,
                    kernel,
                    hidden,
                    stage,
                    stride=1 if index else stage.stride,
                    shortcut=index > 0,
                    drop_path=config.phase == "retrain",
                )
        if index:
            candidates[SKIP] = nn.Identity
        blocks.append(LayerChoice(candidates, key=f"block{index}"))
        c_in = width
    return nn.Sequential(*blocks)


def _elastic(config: MobileNetSpaceConfig, stage: Stage, c_in: Value, width: Value) -> nn.Module:
    """Return a stage of elastic blocks, of which the first ones are computed."""

    def block(index: int) -> nn.Module:
        source = width if index else c_in
        kernels, expansions = config.kernels, tuple(map(int, config.expansions))
        kernel: Value = kernels[0] if len(kernels) == 1 else ValueChoice(kernels, key=f"block{index}.kernel")
        expansion: Value = (
            expansions[0] if len(expansions) == 1 else ValueChoice(expansions, key=f"block{index}.expansion")
        )
        return InvertedResidual(
            source,
            width,
            kernel,
            source * expansion,
            stage,
            stride=1 if index else stage.stride,
            shortcut=index > 0,
            drop_path=config.phase == "retrain",
        )

    number = stage.blocks or config.blocks
    return block(0) if number == 1 else Repeat(block, depths=range(1, number + 1), key="depth")


def _head(info: DataInfo, config: MobileNetSpaceConfig, form: Form, c_in: Value, factor: float) -> nn.Sequential:
    """Return the last convolution and the classifier: ``(B, c_in, H, W)`` to ``(B, classes)``."""
    layers = nn if isinstance(c_in, int) else elastic
    channels = config.head or divisible(form.head * factor)
    steps: list[nn.Module] = [*conv_norm(layers, c_in, channels, 1), form.head_activation()]
    steps += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if form.hidden is not None:
        hidden = divisible(form.hidden * factor)
        steps += [nn.Linear(channels, hidden), form.head_activation()]
        channels = hidden
    if config.dropout:
        steps.append(nn.Dropout(config.dropout))
    return nn.Sequential(*steps, nn.Linear(channels, info.n_classes))


def _widths(config: MobileNetSpaceConfig, stages: Sequence[Stage], factor: float) -> list[tuple[int, ...]]:
    """Return the widths that each stage may have."""
    if config.widths is not None:
        return [*config.widths]
    factors = config.width_factors if config.choices == "elastic" else (1.0,)
    return [tuple(dict.fromkeys(divisible(stage.width * factor * each) for each in factors)) for stage in stages]


def _strides(info: DataInfo, config: MobileNetSpaceConfig, stages: Sequence[Stage]) -> list[int]:
    """Return the strides of the stem and of each stage: the last stages of stride 2 keep it in a small image."""
    side = min(info.height, info.width)
    large = config.stem == "imagenet" or (config.stem == "auto" and side >= IMAGENET_STEM_FROM)
    side = -(-side // 2) if large else side
    published = [number for number, stage in enumerate(stages) if stage.stride == 2]
    reductions = config.reductions
    if reductions is None:
        reductions = 0
        while reductions < len(published) and -(-side // 2) >= SMALLEST_MAP:
            reductions, side = reductions + 1, -(-side // 2)
    elif reductions > len(published):
        raise SpaceError(
            f"space.reductions={reductions}: the {len(stages)} stages of form {config.form} have {len(published)} with"
            " a stride at most; set it lower, or space.stages higher"
        )
    kept = published[len(published) - reductions :]
    return [2 if large else 1, *(2 if number in kept else 1 for number in range(len(stages)))]
