"""Options of the built-in search spaces. Imports no torch, so that they can be listed and described at once."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import Field, StringConstraints, field_validator, model_validator

from nasreg.specs.base import Config
from nasreg.specs.space import NONE

DARTS_OPERATIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""The candidates of the DARTS space, in the order of the authors' program."""

OperationName = Annotated[str, StringConstraints(min_length=1)]


class DartsSpaceConfig(Config):
    """Options of the DARTS cell space."""

    cells: int = Field(default=8, ge=1, le=200, description="number of cells, one after the other")
    channels: int = Field(
        default=16, ge=1, le=4096, description="channels C of the first cells; doubled at each reduction"
    )
    nodes: int = Field(default=4, ge=1, le=16, description="nodes of a cell")
    edges_kept: int = Field(default=2, ge=1, le=16, description="incoming edges that a node keeps in an architecture")
    candidates: tuple[OperationName, ...] = Field(
        default=DARTS_OPERATIONS, min_length=1, description="operations possible on each edge, in order"
    )
    edge_candidates: dict[Literal["normal", "reduce"], tuple[tuple[OperationName, ...], ...]] | None = Field(
        default=None,
        description="operations possible on each edge of each kind of cell, where they are fewer than the candidates;"
        " edges are ordered node by node, then source by source",
    )
    stem: Literal["auto", "cifar", "imagenet"] = Field(
        default="auto",
        description="cifar: one 3x3 convolution to 3C channels; imagenet: three with stride 2;"
        " auto: imagenet for images of 96 pixels and more",
    )
    reductions: int | None = Field(
        default=None,
        ge=0,
        le=8,
        description="number of reduction cells; by default 2, or as many as the cells and the image size allow",
    )
    phase: Literal["search", "retrain"] = Field(
        default="search",
        description="search: BatchNorm without scale and shift, also after pools; retrain: with both, not after pools",
    )

    auxiliary: bool = Field(
        default=False,
        description="retrain only: a second classifier after the cell at two thirds of the depth;"
        " the network then gives its logits and those of the second one",
    )
    features_only: bool = Field(
        default=False,
        description="retrain only: no classifier; the network gives its last feature map of each size, largest first",
    )

    @model_validator(mode="after")
    def _retrain_only(self) -> DartsSpaceConfig:
        for name in ("auxiliary", "features_only"):
            if getattr(self, name) and self.phase != "retrain":
                raise ValueError(f"{name} is for phase='retrain' only")
        if self.auxiliary and self.features_only:
            raise ValueError("auxiliary and features_only exclude each other: it has no classifier then")
        return self

    @field_validator("candidates")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        from nasreg.errors import did_you_mean

        for name in value:
            if name not in DARTS_OPERATIONS:
                raise ValueError(f"there is no operation {name!r}.{did_you_mean(name, DARTS_OPERATIONS)}")
        if not set(value) - {NONE}:
            raise ValueError(f"expected at least one operation beside {NONE}")
        return _different(value)


T = TypeVar("T")


def _different(value: tuple[T, ...]) -> tuple[T, ...]:
    twice = next((each for each in value if value.count(each) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice} is given twice: expected different ones")
    return value


def _odd_sizes(value: tuple[int, ...]) -> tuple[int, ...]:
    if any(size % 2 == 0 for size in value):
        raise ValueError("kernel sizes must be odd, so that the image keeps its size")
    return _different(value)


class ChainSpaceConfig(Config):
    """Options of the chain space."""

    blocks: int = Field(default=4, ge=1, le=64, description="number of blocks, one after the other")
    channels: int = Field(default=16, ge=1, le=4096, description="channels of each block")
    kernels: tuple[Annotated[int, Field(ge=1, le=31)], ...] = Field(
        default=(1, 3, 5), min_length=1, description="kernel sizes to choose from in each block; odd"
    )

    _odd = field_validator("kernels")(_odd_sizes)


Width = Annotated[int, Field(ge=1, le=4096)]


class ElasticChainSpaceConfig(Config):
    """Options of the elastic chain."""

    blocks: int = Field(default=8, ge=1, le=32, description="largest number of blocks; the smallest is 1")
    widths: tuple[Width, ...] = Field(
        default=(8, 16, 32, 64), min_length=1, description="numbers of channels to choose from in each block"
    )
    kernels: tuple[Annotated[int, Field(ge=1, le=31)], ...] = Field(
        default=(1, 3, 5), min_length=1, description="kernel sizes to choose from in each block; odd"
    )
    strides: tuple[Annotated[int, Field(ge=1, le=8)], ...] = Field(
        default=(1, 2), min_length=1, description="strides to choose from in each block"
    )
    skips: tuple[Literal["add", "concat"], ...] = Field(
        default=("add", "concat"),
        description="how the output of an earlier block may join a block; none for a space without skip connections",
    )

    _odd = field_validator("kernels")(_odd_sizes)

    _distinct = field_validator("widths", "strides", "skips")(_different)


class ShuffleNetSpaceConfig(Config):
    """Options of the ShuffleNet space."""

    channels: int = Field(
        default=16,
        ge=1,
        le=1024,
        description="channels of the stem; those of the stages and of the last convolution are in proportion",
    )
    stages: int = Field(default=4, ge=1, le=4, description="number of stages, the first ones of the published four")
    blocks: int | tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(
        default=(4, 4, 8, 4), description="number of blocks in each stage, or in all of them"
    )
    widths: tuple[Annotated[float, Field(gt=0, le=8)], ...] = Field(
        default=(1.0,),
        min_length=1,
        description="channels inside a block as shares of half of its output; several are a choice of each block, with"
        " weights that are slices of the largest one",
    )
    reductions: int | None = Field(
        default=None,
        ge=0,
        le=5,
        description="how many times the image is halved: by the last ones of stem and stages; by default as often as"
        " leaves 4 pixels a side, at 224 pixels by all of them",
    )
    dropout: float = Field(default=0.1, ge=0, lt=1, description="dropout before the classifier")
    phase: Literal["search", "retrain"] = Field(
        default="search", description="search: BatchNorm without scale and shift; retrain: with both"
    )

    _distinct = field_validator("widths")(_different)

    @model_validator(mode="after")
    def _blocks_of_stages(self) -> ShuffleNetSpaceConfig:
        if isinstance(self.blocks, int):
            if self.blocks < 1:
                raise ValueError("blocks must be 1 at least")
        elif len(self.blocks) < self.stages:
            raise ValueError(f"blocks={list(self.blocks)} must have a number for each of {self.stages} stages")
        return self


Heads = Annotated[int, Field(ge=1, le=64)]
Ratio = Annotated[float, Field(gt=0, le=16)]


class VitSpaceConfig(Config):
    """Options of the space of vision transformers."""

    form: Literal["tiny", "small", "base"] = Field(
        default="tiny", description="published space that the depth, widths, heads and MLP ratios are taken from"
    )
    blocks: int | None = Field(
        default=None, ge=1, le=64, description="largest number of blocks, in place of the published one"
    )
    depths: int = Field(
        default=3, ge=1, le=64, description="how many numbers of blocks there are to choose from, the largest included"
    )
    channels: int | None = Field(
        default=None,
        ge=2,
        le=4096,
        description="largest embedding width, in place of the published one; where they are not given, the other widths"
        " and the width of a head are in proportion",
    )
    widths: tuple[Width, ...] | None = Field(
        default=None, min_length=1, description="embedding widths to choose from, in place of those of the form"
    )
    heads: tuple[Heads, ...] | None = Field(
        default=None, min_length=1, description="numbers of heads to choose from in each block"
    )
    ratios: tuple[Ratio, ...] | None = Field(
        default=None, min_length=1, description="MLP widths to choose from in each block, as multiples of the embedding"
    )
    head_width: int | None = Field(
        default=None, ge=1, le=1024, description="width of a head; by default 64, in proportion to channels"
    )
    patch: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="pixels of a side of a patch; by default the first of 16, 4, 2 and 1 that leaves 4 patches a side",
    )
    max_distance: int = Field(
        default=14, ge=1, le=256, description="distance of patches from which on relative positions are alike"
    )
    phase: Literal["search", "retrain"] = Field(
        default="search", description="retrain: each half of a block can be dropped in training (trainer.drop_path)"
    )

    @field_validator("widths", "heads", "ratios")
    @classmethod
    def _distinct(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        return None if value is None else _different(value)
