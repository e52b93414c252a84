"""Options of the evaluator. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from nasreg.specs import EvaluatorConfig, Need, Split
from nasreg_zerocost.catalog import MeasureName, needs_images


def _names(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class ZeroCostConfig(EvaluatorConfig):
    """Options of the evaluator ``zero-cost``."""

    measure: MeasureName = Field(default="synflow", description="what proposals are scored by; higher is better")
    metrics: Annotated[tuple[MeasureName, ...], BeforeValidator(_names)] = Field(
        default=(),
        description="further measures, recorded beside the score and with no influence on the search; one that does not"
        " exist for a network is recorded as null",
    )
    batch_size: int = Field(
        default=64, ge=2, description="images, the same for all proposals, for the measures that need images"
    )
    split: Literal["train", "validation"] = Field(default="train", description="split that the images are taken from")
    load_data: bool = Field(
        default=False,
        description="load the data also where no measure needs images: networks are then built for their shape and"
        " classes instead of those of CIFAR-10",
    )
    precision: Literal["float32", "float64"] = Field(
        default="float32", description="precision of the networks; SynFlow is always computed in float64"
    )
    zen_batch_size: int = Field(default=16, ge=1, description="random images in a repetition of zen")
    zen_repeats: int = Field(default=32, ge=1, description="repetitions of zen, each with new weights and images")
    zen_gamma: float = Field(default=0.01, gt=0, description="how far the second image of zen is from the first")

    @field_validator("metrics")
    @classmethod
    def _once(cls, value: tuple[MeasureName, ...]) -> tuple[MeasureName, ...]:
        repeated = next((name for name in value if value.count(name) > 1), None)
        if repeated is not None:
            raise ValueError(f"{repeated!r} is there twice")
        return value

    @property
    def measures(self) -> tuple[MeasureName, ...]:
        """All measures to compute, that of the score first."""
        return (self.measure, *(name for name in self.metrics if name != self.measure))

    @property
    def unneeded(self) -> frozenset[Need | Split]:
        """The data where no measure needs images, and a validation split that none are taken from."""
        data = self.load_data or any(needs_images(name) for name in self.measures)
        unused: set[Need | Split] = set()
        if not data:
            unused |= {"data", "validation"}
        if self.split != "validation":
            unused.add("validation")
        return frozenset(unused)
