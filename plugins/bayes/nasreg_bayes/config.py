"""Options of the algorithms. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from nasreg.specs import Config
from nasreg.trainers import MultiTrialTrainerConfig
from nasreg_bayes.brackets import max_halvings


class SamplerConfig(Config):
    """How a surrogate chooses the next architecture."""

    surrogate: Literal["gp", "forest"] = Field(
        default="gp",
        description="what predicts scores: a Gaussian process (Matern 5/2 kernel, fitted by marginal likelihood), or a"
        " random forest as in SMAC, which takes many thousand trials",
    )
    acquisition: Literal["ei", "ucb", "thompson"] = Field(
        default="ei",
        description="what the next architecture is the best in: the expected improvement, the upper confidence bound,"
        " or a value drawn from the prediction of each candidate (independent Thompson sampling)",
    )
    ucb_beta: float = Field(default=2.0, ge=0, description="standard deviations above the mean, of acquisition ucb")
    targets: Literal["ranks", "values"] = Field(
        default="ranks",
        description="what the surrogate learns: the normal quantiles of the scores' ranks, whatever their distribution,"
        " or the scores, standardised",
    )
    candidates: int = Field(
        default=100, ge=2, description="architectures among which the acquisition chooses: half random, half mutations"
    )
    parents: int = Field(default=5, ge=1, description="best architectures so far that are mutated")
    trees: int = Field(default=10, ge=2, description="trees of the random forest")


class BayesOptConfig(SamplerConfig):
    """Options of Bayesian optimisation."""

    initial: int = Field(default=10, ge=1, description="random architectures to begin with")


class HalvingConfig(SamplerConfig):
    """Options that successive halving and Hyperband share."""

    eta: int = Field(default=3, ge=2, description="one of so many enters the next rung, for so many times the effort")
    sampler: Literal["random", "bayes"] = Field(
        default="random",
        description="what new architectures come from: random draws, or as in BOHB a surrogate that learns from the"
        " highest fidelity with enough scores",
    )
    initial: int = Field(default=10, ge=1, description="scores of one fidelity that are enough, of sampler bayes")
    random_fraction: float = Field(
        default=1 / 3,
        ge=0,
        le=1,
        description="share of new architectures that are random all the same, of sampler bayes; 1/3 in BOHB",
    )


class SuccessiveHalvingConfig(HalvingConfig):
    """Options of successive halving."""

    architectures: int = Field(default=27, ge=1, description="architectures in the first rung")
    rungs: int | None = Field(
        default=None,
        ge=1,
        description="number of rungs, the last with full effort; by default so many that one architecture is left",
    )

    @model_validator(mode="after")
    def _rungs_fit(self) -> SuccessiveHalvingConfig:
        most = max_halvings(self.architectures, self.eta) + 1
        if self.rungs is not None and self.rungs > most:
            raise ValueError(
                f"rungs={self.rungs} is too many: with eta={self.eta} there are {most} rungs from"
                f" architectures={self.architectures} to one"
            )
        return self

    @property
    def n_rungs(self) -> int:
        """The number of rungs."""
        return self.rungs or max_halvings(self.architectures, self.eta) + 1


class HyperbandConfig(HalvingConfig):
    """Options of Hyperband; the defaults are those of the paper's example (arXiv 1603.06560, table 1)."""

    max_resource: int = Field(
        default=81,
        ge=1,
        description="effort of the longest trials in units of the shortest (R in the paper): at most evaluator.epochs,"
        " since no trial trains for less than one epoch",
    )


class BayesOptTrainerConfig(MultiTrialTrainerConfig):
    """Options of a multi-trial search; by default no architecture is evaluated twice."""

    duplicates: Literal["evaluate", "reject"] = Field(
        default="reject", description="reject: an architecture that was proposed before is not evaluated again"
    )
