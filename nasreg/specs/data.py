"""The shape of the data, from which a search space is built. Imports no torch."""

from __future__ import annotations

from pydantic import Field

from nasreg.specs.base import Spec


class DataInfo(Spec):
    """Shape of one image and the classes; a space builds its stem and its classifier from it."""

    channels: int = Field(ge=1, description="channels of an image")
    height: int = Field(ge=1, description="height in pixels")
    width: int = Field(ge=1, description="width in pixels")
    classes: tuple[str, ...] = Field(min_length=2, description="names of the classes, by label")

    @property
    def n_classes(self) -> int:
        """The number of classes."""
        return len(self.classes)
