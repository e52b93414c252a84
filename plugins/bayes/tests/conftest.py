"""Searches in which nothing is trained: the score is the distance to a planted architecture, more or less exactly."""

from __future__ import annotations

import random

import pytest
from pydantic import Field

import nasreg
from nasreg.evaluators import Evaluator
from nasreg.registry import Registry
from nasreg.specs import Config, EvaluatorSpec, MetricSpec
from nasreg.testing import toy_images


class PlantedConfig(Config):
    failing: bool = Field(default=False, description="architectures with another first decision than the best one fail")
    all_fail_below: float = Field(default=0.0, description="trials of less fidelity fail")
    noise: float = Field(default=0.0, description="noise of a trial of no fidelity")


class Planted(Evaluator):
    """Scores an architecture by its distance to one that is drawn; lower is better."""

    config: PlantedConfig
    objective = MetricSpec(name="distance", title="distance", higher_is_better=False)

    def setup(self):
        self.best = self.context.space.sample(random.Random(5))

    def evaluate(self, proposal):
        key = self.context.space.choices[0].key
        if self.config.failing and proposal.architecture.decisions[key] != self.best.decisions[key]:
            raise ValueError("it fails")
        if proposal.fidelity < self.config.all_fail_below:
            raise ValueError("too little effort")
        rng = random.Random(self.seed(proposal))
        noise = rng.gauss(0, 1) * self.config.noise * (1 - proposal.fidelity)
        return self.score(self.context.space.distance(proposal.architecture, self.best) + noise)


@pytest.fixture(scope="session")
def registry():
    found = Registry()
    found.register(
        EvaluatorSpec(
            name="planted", summary="distance to an architecture", factory=Planted, config=PlantedConfig, fidelity=True
        )
    )
    return found


@pytest.fixture
def search(registry, without_report):
    """Runs a search of the space chain, whose architectures have 22 numbers."""

    def run(algorithm, trials, space="chain", evaluator_options=None, trainer=None, seed=1, **more):
        return nasreg.search(
            space,
            toy_images(16),
            algorithm,
            evaluator="planted",
            evaluator_options=evaluator_options,
            trainer={"max_trials": trials, **(trainer or {})},
            registry=registry,
            seed=seed,
            device="cpu",
            **more,
        )

    return run
