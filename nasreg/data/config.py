"""Options of the data sets. Imports no torch, so that they can be listed and described at once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from nasreg.specs.base import Config

Share = Annotated[float, Field(gt=0, le=1)]
Strength = Annotated[float, Field(ge=0)]
Turn = Annotated[float, Field(ge=0, le=0.5)]


class DatasetConfig(Config):
    """Options that every data set has. Data given from Python has these, with these defaults."""

    alpha_fraction: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="share of the train set that the choices are learned on; the weights are learned on the rest",
    )
    validation_fraction: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the train set that is held out before that, to measure accuracy on;"
        " not used where the data set brings a validation set of its own",
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
    in_memory: Literal["auto", "yes", "no"] = Field(
        default="auto",
        description="whether images are read once and held as tensors; auto: where they take at most 512 MiB",
    )
    workers: int = Field(
        default=0,
        ge=0,
        le=256,
        description="processes that read images, for each part of the data, where they are not held in memory",
    )

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
    def _read_anew(cls, value: str, info: ValidationInfo) -> str:
        needing = [name for name in ("crop_scale", "color_jitter") if info.data.get(name) is not None]
        if value == "yes" and needing:
            raise ValueError(f"with dataset.{needing[0]} images are read anew for each batch: set it to auto or no")
        return value


class DigitsConfig(DatasetConfig):
    """Options of ``digits``; a mirrored digit is none, and one pixel of 8 is enough to move it."""

    crop_padding: int = Field(
        default=1, ge=0, le=1024, description="random crops of the image padded with so many black pixels; 0 for none"
    )


class _DownloadedConfig(DatasetConfig):
    root: str = Field(default="~/.cache/nasreg", description="folder of the files, as torchvision lays them out")
    download: bool = Field(default=True, description="download the files where they are missing")


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
        description="folder with one subfolder of images for each class, or with such a folder as train"
        " and, if you like, val and test",
    )
    grayscale: bool = Field(default=False, description="read images with one channel instead of three")
    crop_padding: int = Field(
        default=4, ge=0, le=1024, description="random crops of the image padded with so many black pixels; 0 for none"
    )
    flip: bool = Field(default=True, description="flip images from left to right at random")
