"""Options of the data sets. Imports no torch, so that they can be listed and described at once."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationInfo, field_validator

from nasreg.errors import ConfigError
from nasreg.specs.base import EXECUTION, EXECUTION_BITS, Config

Share = Annotated[float, Field(gt=0, le=1)]
Strength = Annotated[float, Field(ge=0)]
Turn = Annotated[float, Field(ge=0, le=0.5)]

C = TypeVar("C", bound="DatasetConfig")

ARCH_FRACTION = 0.5
VALIDATION_FRACTION = 0.2

TEST_FRACTION_HINT = "hold out a share of its images with --set dataset.test_fraction=0.2"
"""What to do about a data set without a test set."""


class DatasetConfig(Config):
    """Options that every data set has. Data given from Python has these, with these defaults."""

    arch_fraction: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="share of the train set that becomes the arch split, on which architecture parameters are learned;"
        f" by default {ARCH_FRACTION} where the algorithm needs that split, else 0",
    )
    validation_fraction: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="share of the train set that becomes the validation split; by default"
        f" {VALIDATION_FRACTION} where the algorithm needs that split, else 0;"
        " not used where the data set brings a validation set of its own, except with arch_from: validation",
    )
    arch_from: Literal["train", "validation"] = Field(
        default="train",
        description="what becomes the arch split: arch_fraction of the train set, or the whole validation set that the"
        " data set brings",
    )
    test_fraction: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the images that becomes the test split where the data set brings no test set; it depends"
        " on the data alone, so that every search and retraining holds out the same images",
    )
    limit: int | None = Field(
        default=None, ge=4, description="number of images of the train set to use, the same share of each class"
    )
    image_size: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="side in pixels that images are brought to, by resizing the shorter side and cropping the centre",
    )
    center_fraction: float = Field(
        default=1.0,
        ge=0.1,
        le=1,
        description="share of the shorter side that the crop of image_size takes: with 0.875, 224 pixels of 256",
    )
    crop_scale: tuple[Share, Share] | None = Field(
        default=None,
        description="train on random crops instead, which take a share of the image's area between these two, with"
        " sides of 3:4 to 4:3 (arXiv 1409.4842); null for none",
    )
    color_jitter: tuple[Strength, Strength, Strength, Turn] | None = Field(
        default=None,
        description="train on images whose brightness, contrast, saturation and hue are changed at random by up to so"
        " much (torchvision's ColorJitter); null for none",
    )
    crop_padding: int = Field(
        default=0, ge=0, le=1024, description="random crops of the image padded with so many black pixels; 0 for none"
    )
    flip: bool = Field(default=False, description="flip images from left to right at random")
    cutout: int = Field(
        default=0,
        ge=0,
        le=4096,
        description="side in pixels of a square that is blanked at a random place of each image (arXiv 1708.04552);"
        " 0 for none",
    )
    layout: Literal["auto", "chw", "hwc"] = Field(
        default="auto",
        description="order of the dimensions of tensors: channels, height, width (chw) or height, width, channels"
        " (hwc); auto: chw, and shapes that look like hwc are refused",
    )
    unreadable: Literal["error", "skip"] = Field(
        default="error",
        json_schema_extra=EXECUTION_BITS,
        description="what to do about an image that cannot be read: stop with an error, or leave it out, for which all"
        " images are read before the run begins",
    )
    check_all: bool = Field(
        default=False,
        json_schema_extra=EXECUTION,
        description="read all images before the run begins, to find those that cannot be read",
    )
    in_memory: Literal["auto", "yes", "no"] = Field(
        default="auto",
        json_schema_extra=EXECUTION,
        description="whether images are read once and held as tensors; auto: where they take at most 512 MiB",
    )
    workers: int = Field(
        default=0,
        ge=0,
        le=256,
        json_schema_extra=EXECUTION,
        description="processes that read images, for each part of the data, where they are not held in memory",
    )

    def with_splits(self: C, splits: Collection[str], used_by: str) -> C:
        """Return the options with both fractions set, as the user of the data needs them.

        Args:
            splits: The splits needed beside ``train``: ``arch``, ``validation``, both or none.
            used_by: Who needs them, for the error, such as ``algorithm 'darts'``.

        Raises:
            ConfigError: ``arch_fraction`` or ``arch_from`` was given where no arch split is used, the fraction is 0
                where one is needed, or they contradict each other.
        """
        separate = self.arch_from == "validation"
        if separate and "arch" not in splits:
            raise ConfigError(f"dataset.arch_from is validation, but {used_by} uses no arch split: leave it out")
        if separate and self.arch_fraction:
            raise ConfigError(
                f"dataset.arch_fraction is {self.arch_fraction:g}, but dataset.arch_from is validation, which is then"
                " the arch split: give one of them"
            )
        if "arch" in splits and self.arch_fraction == 0 and not separate:
            raise ConfigError(
                f"dataset.arch_fraction is 0, but {used_by} learns the architecture on the arch split: set it above 0"
            )
        if "arch" not in splits and self.arch_fraction:
            raise ConfigError(
                f"dataset.arch_fraction is {self.arch_fraction:g}, but {used_by} uses no arch split: leave it out"
            )
        arch, validation = self.arch_fraction, self.validation_fraction
        if arch is None:
            arch = ARCH_FRACTION if "arch" in splits and not separate else 0.0
        if validation is None:
            validation = VALIDATION_FRACTION if "validation" in splits else 0.0
        return self.model_copy(update={"arch_fraction": arch, "validation_fraction": validation})

    @field_validator("crop_scale")
    @classmethod
    def _rising(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] > value[1]:
            raise ValueError("the smaller share comes first")
        return value

    @field_validator("in_memory", mode="before")
    @classmethod
    def _word(cls, value: object) -> object:
        # YAML, and with it --set, reads the words yes and no as truth values.
        return ("no", "yes")[value] if isinstance(value, bool) else value

    @field_validator("in_memory")
    @classmethod
    def _read_again(cls, value: str, info: ValidationInfo) -> str:
        needing = [name for name in ("crop_scale", "color_jitter") if info.data.get(name) is not None]
        if value == "yes" and needing:
            raise ValueError(f"with dataset.{needing[0]} images are read again for each batch: set it to auto or no")
        return value


class DigitsConfig(DatasetConfig):
    """Options of ``digits``; a mirrored digit is none, and one pixel of 8 is enough to move it."""

    crop_padding: int = Field(
        default=1, ge=0, le=1024, description="random crops of the image padded with so many black pixels; 0 for none"
    )


class _DownloadedConfig(DatasetConfig):
    root: str = Field(
        default="~/.cache/nasreg",
        json_schema_extra=EXECUTION,
        description="folder of the files, as torchvision lays them out",
    )
    download: bool = Field(
        default=True, json_schema_extra=EXECUTION, description="download the files where they are missing"
    )


class GlyphConfig(_DownloadedConfig):
    """Options of torchvision's data sets of digits and things that must not be mirrored: padded crops of 4."""

    crop_padding: int = Field(
        default=4, ge=0, le=1024, description="random crops of the image padded with so many black pixels; 0 for none"
    )


class PhotoConfig(GlyphConfig):
    """Options of torchvision's data sets of photographs: padded crops of 4 and flips, as in the DARTS search."""

    flip: bool = Field(default=True, description="flip images from left to right at random")


class FolderConfig(DatasetConfig):
    """Options of ``folder``."""

    path: str = Field(
        min_length=1,
        json_schema_extra=EXECUTION,
        description="folder with one subfolder of images for each class, or with such a folder as train"
        " and, if you like, val and test",
    )
    grayscale: bool = Field(default=False, description="read images with one channel instead of three")
    group_pattern: str | None = Field(
        default=None,
        description="regular expression that finds, in the path of an image below its class folder, the group that it"
        " belongs to, such as '(patient[0-9]+)': no group is in two splits; null for none",
    )
    crop_padding: int = Field(
        default=4, ge=0, le=1024, description="random crops of the image padded with so many black pixels; 0 for none"
    )
    flip: bool = Field(default=True, description="flip images from left to right at random")

    @field_validator("group_pattern")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            groups = re.compile(value).groups if value is not None else 0
        except re.error as error:
            raise ValueError(f"it is no regular expression: {error}") from error
        if groups > 1:
            raise ValueError(f"it has {groups} pairs of parentheses: put one around what names the group")
        return value
