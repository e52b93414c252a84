"""An evaluator that takes no time, and a multi-trial algorithm that samples: what a contract tests the other part with.

Their names are in the registry only while a test runs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

from pydantic import Field

from nasreg.evaluators import Evaluator
from nasreg.mutators import MultiTrialMutator
from nasreg.registry import default_registry
from nasreg.specs import (
    AlgorithmSpec,
    Architecture,
    Config,
    EvaluatorSpec,
    MetricSpec,
    MutatorSpec,
    Preset,
    Proposal,
    Score,
    TrainerSpec,
)
from nasreg.specs.algorithm import Primitive


class DistanceConfig(Config):
    """Options of the evaluator ``testing.distance``."""

    failing: int = Field(default=0, ge=0, description="of so many trials one fails; 0 for none")


class DistanceEvaluator(Evaluator):
    """Scores an architecture by its distance to a certain one; lower is better."""

    config: DistanceConfig
    objective = MetricSpec(name="distance", title="distance", higher_is_better=False)

    def setup(self) -> None:
        """Choose the architecture that is the best."""
        self.best = self.context.space.sample(random.Random(0))

    def evaluate(self, proposal: Proposal) -> Score:
        """Return the distance to the best architecture.

        Raises:
            ValueError: The options say that this trial fails.
        """
        if self.config.failing and proposal.id % self.config.failing == 0:
            raise ValueError(f"trial {proposal.id} is one of those that fail")
        return self.score(self.context.space.distance(proposal.architecture, self.best))


class UniformMutator(MultiTrialMutator):
    """Draws each architecture uniformly."""

    def propose(self) -> Proposal:
        """Return any architecture."""
        return self.proposal(self.space.sample(self.rng))


def accept(architecture: Architecture) -> bool:
    """Return True for about two of three architectures: a filter (``trainer.filter``) that no algorithm can foresee."""
    return random.Random(architecture.to_json()).random() < 2 / 3


FILTER = f"{__name__}:accept"

DISTANCE = EvaluatorSpec(
    name="testing.distance",
    summary="scores an architecture by its distance to a certain one",
    factory=f"{__name__}:DistanceEvaluator",
    config=f"{__name__}:DistanceConfig",
    fidelity=True,
)

UNIFORM = AlgorithmSpec(
    name="testing.uniform",
    summary="evaluates architectures that are drawn uniformly",
    family="multi-trial",
    primitives=frozenset(get_args(Primitive)),
    mutator=MutatorSpec(factory=f"{__name__}:UniformMutator", config="nasreg.specs:Config"),
    trainer=TrainerSpec(factory="nasreg.trainers:MultiTrialTrainer", config="nasreg.trainers:MultiTrialTrainerConfig"),
    presets={"only": Preset(summary="the defaults")},
    default_preset="only",
    default_space="chain",
)


@contextmanager
def stand_ins() -> Iterator[None]:
    """Have both in the registry of this process for the time of a block."""
    registry = default_registry()
    registry.register(DISTANCE, UNIFORM)
    try:
        yield
    finally:
        registry.unregister(DISTANCE.name, UNIFORM.name)
