"""Options of the two algorithms. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from nasreg.specs import Config


class StartConfig(Config):
    """The network that a search starts from."""

    start_blocks: int | None = Field(
        default=None, ge=1, le=32, description="blocks of the first network; by default 3, or all that the space has"
    )
    start_width: int | None = Field(
        default=None, ge=1, description="width of these blocks; by default the smallest of the space"
    )
    start_kernel: int | None = Field(
        default=None, ge=1, description="their kernel size; by default 3, or the smallest of the space"
    )
    start_stride: int | None = Field(
        default=None,
        ge=1,
        description="stride of each but the first, which has the smallest; by default 2, or the smallest of the space",
    )


class MorphismConfig(StartConfig):
    """Options of ``morphism``."""

    neighbours: int = Field(default=8, ge=1, description="morphs of a network that the acquisition compares")
    beta: float = Field(default=2.576, ge=0, description="weight of the standard deviation in the acquisition")
    kernel: Literal["embedding", "program"] = Field(
        default="embedding",
        description="embedding: one kernel of embedded distances for training and prediction, as in the paper, on"
        " scores of mean 0 and deviation 1; program: that of Auto-Keras, which predicts with another kernel than it"
        " was fitted with",
    )
    skip_weight: float = Field(default=1.0, ge=0, description="weight of skip connections in the edit distance")
    noise: float = Field(
        default=1e-3, gt=0, description="variance of the scores' noise, on the diagonal of the training kernel"
    )
    temperature: float = Field(default=1.0, gt=0, description="temperature at the start of the annealing")
    min_temperature: float = Field(default=1e-4, gt=0, description="temperature at which the annealing ends")
    cooling: float = Field(default=0.9, gt=0, lt=1, description="factor of the temperature from step to step")

    @model_validator(mode="after")
    def _falls(self) -> MorphismConfig:
        if self.min_temperature >= self.temperature:
            raise ValueError(f"min_temperature {self.min_temperature} is not below temperature {self.temperature}")
        return self


class HillClimbingConfig(StartConfig):
    """Options of ``hill-climbing``."""

    neighbours: int = Field(
        default=8, ge=2, description="networks of a step: the best so far, which is trained further, and its morphs"
    )
    morphs: int = Field(default=5, ge=1, description="morphs that lead from the best network to each of the others")
