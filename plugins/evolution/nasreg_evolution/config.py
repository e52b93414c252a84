"""Options of the algorithms. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from nasreg.specs import Config

Mutation = Literal["by-part", "uniform"]
Cost = Literal["parameters", "macs", "latency_ms"]


class RegularizedEvolutionConfig(Config):
    """Options of regularized evolution; the defaults are those of the paper (arXiv 1802.01548)."""

    population: int = Field(default=100, ge=1, description="members of the population (P in the paper)")
    sample: int = Field(default=25, ge=1, description="members drawn for a tournament (S in the paper)")
    replacement: bool = Field(
        default=True, description="whether a tournament can draw the same member again, as in the paper's algorithm 1"
    )
    mutation: Mutation = Field(
        default="by-part",
        description="by-part: draw a choice, in a cell a node and a slot, then what of it changes, as in the paper;"
        " uniform: draw one of all elementary decisions",
    )
    identity: float = Field(
        default=0.0, ge=0, lt=1, description="probability that a child has the architecture of its parent"
    )

    @model_validator(mode="after")
    def _sample_fits(self) -> RegularizedEvolutionConfig:
        if self.sample > self.population:
            raise ValueError(
                f"sample={self.sample} is more than population={self.population}: a tournament draws members of the"
                " population"
            )
        return self


class LocalSearchConfig(Config):
    """Options of local search; the defaults are those of algorithm 1 of the paper (arXiv 2005.02960)."""

    improvement: Literal["best", "first"] = Field(
        default="best",
        description="best: evaluate the whole neighbourhood and move to the best neighbour that is better; first: move"
        " to the first one that is better",
    )
    initial: int = Field(default=1, ge=1, description="random architectures the best of which is where a climb starts")


class Nsga2Config(Config):
    """Options of NSGA-II; population and crossover are those of the paper (Deb et al. 2002)."""

    population: int = Field(default=100, ge=2, description="members of the population, and children of a generation")
    costs: tuple[Cost, ...] = Field(
        default=("parameters",),
        description="what is minimised while the score is optimised: parameters, macs (multiply-accumulates of one"
        " image) or latency_ms (of one image, as the evaluator states it, else measured on the device)",
    )
    crossover: float = Field(
        default=0.9, ge=0, le=1, description="probability that a child has two parents, and each decision of either"
    )
    mutation: float = Field(default=1.0, ge=0, le=1, description="probability that a decision of a child is changed")

    @model_validator(mode="after")
    def _different(self) -> Nsga2Config:
        if not self.costs or len(set(self.costs)) < len(self.costs):
            raise ValueError(f"costs={list(self.costs)} must name different costs, one at least")
        return self


class LargeScaleEvolutionConfig(Config):
    """Options of large-scale evolution; the defaults are those of the paper (arXiv 1703.01041)."""

    population: int = Field(default=1000, ge=2, description="members of the population")
    initial: Literal["smallest", "random"] = Field(
        default="smallest",
        description="smallest: the population begins with the smallest depth, and what there is then with the smallest"
        " values and without optional inputs, other choices at random; random: with random architectures",
    )
    lr: float | None = Field(
        default=0.1,
        gt=0,
        description="learning rate of the first members, in place of evaluator.lr; it evolves. null: evaluator.lr"
        " for all",
    )
    lr_factor: float = Field(
        default=2.0, gt=1, description="a mutation multiplies the learning rate by at most this factor, or divides it"
    )
