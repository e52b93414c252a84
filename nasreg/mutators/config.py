"""Options of the mutators that come with the core. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from nasreg.specs.base import Config

Schedule = Literal["linear", "exponential"]
"""How a temperature changes from epoch to epoch."""


class SoftmaxMutatorConfig(Config):
    """Options of the architecture parameters."""

    init_std: float = Field(
        default=1e-3, ge=0, description="standard deviation of the architecture parameters at the start (mean 0)"
    )
    edge_normalization: bool = Field(
        default=False,
        description="weigh the edges into each node of a cell by a softmax of further parameters, which also decides"
        " what edges are kept (arXiv 1907.05737)",
    )


class GumbelMutatorConfig(SoftmaxMutatorConfig):
    """Options of architecture parameters that are sampled by the Gumbel-softmax."""

    temperature: float = Field(
        default=10.0, gt=0, description="temperature of the Gumbel-softmax in the first epoch; the higher, the flatter"
    )
    temperature_min: float = Field(default=0.1, gt=0, description="temperature of the last epoch")
    temperature_schedule: Schedule = Field(
        default="linear", description="how the temperature falls: by one difference per epoch, or by one factor"
    )

    @model_validator(mode="after")
    def _falls(self) -> GumbelMutatorConfig:
        if self.temperature_min > self.temperature:
            raise ValueError(
                f"temperature_min={self.temperature_min:g} is above temperature={self.temperature:g}, where it starts"
            )
        return self
