"""Options of the algorithm. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from nasreg.specs import Config
from nasreg.trainers import MultiTrialTrainerConfig


class SposConfig(Config):
    """Options of the evolution on the supernet; the defaults are those of the paper (arXiv 1904.00420)."""

    population: int = Field(default=50, ge=1, description="architectures of a generation (P in the paper)")
    top: int = Field(default=10, ge=1, description="best architectures so far, which are the parents of the next (k)")
    mutations: int = Field(default=25, ge=0, description="children of a generation that come of mutation (n)")
    crossovers: int = Field(default=25, ge=0, description="children of a generation that come of crossover (m)")
    probability: float = Field(
        default=0.1, gt=0, le=1, description="probability that a mutation draws a decision anew (prob)"
    )
    attempts: int = Field(
        default=10,
        ge=1,
        description="mutations and crossovers that are tried for each child that is wanted; those that are rejected are"
        " replaced by random architectures after that many",
    )

    @model_validator(mode="after")
    def _fits(self) -> SposConfig:
        if self.mutations + self.crossovers > self.population:
            raise ValueError(
                f"mutations={self.mutations} and crossovers={self.crossovers} are more than population="
                f"{self.population}: the children of a generation are its population"
            )
        if self.top > self.population:
            raise ValueError(f"top={self.top} is more than population={self.population}, of which the parents come")
        return self


class SposTrainerConfig(MultiTrialTrainerConfig):
    """Options of the search; by default no architecture is evaluated twice, as in the paper."""

    duplicates: Literal["evaluate", "reject"] = Field(
        default="reject", description="reject: an architecture that was proposed before is not evaluated again"
    )
