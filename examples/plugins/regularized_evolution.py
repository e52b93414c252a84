"""Regularized evolution: the oldest member of the population dies, not the worst.

Real, Aggarwal, Huang, Le: Regularized Evolution for Image Classifier Architecture Search, arXiv 1802.01548, algorithm
1. A mutation changes one elementary decision (``SearchSpaceSpec.mutate``); the paper sometimes changes none. Random
architectures are proposed until the population is complete, so that failed and rejected trials do not make it smaller.
The package nasreg-evolution has the paper's mutation and presets.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable
from operator import attrgetter

from pydantic import Field

import nasreg
from nasreg.hookspecs import hookimpl
from nasreg.mutators import MultiTrialMutator
from nasreg.specs import PRIMITIVES, AlgorithmSpec, Config, MutatorSpec, PluginInfo, Preset, Proposal, Trial


class RegularizedEvolutionConfig(Config):
    population: int = Field(default=100, ge=1, description="members of the population (P in the paper)")
    sample: int = Field(default=25, ge=1, description="members drawn for a tournament (S in the paper)")


class RegularizedEvolution(MultiTrialMutator):
    config: RegularizedEvolutionConfig

    def setup(self) -> None:
        self.population: deque[Trial] = deque(maxlen=self.config.population)

    def propose(self) -> Proposal:
        if len(self.population) < self.config.population:
            return self.proposal(self.space.sample(self.rng))
        tournament = self.rng.choices(self.population, k=self.config.sample)
        parent = max(tournament, key=attrgetter("score"))
        return self.proposal(self.space.mutate(parent.architecture, self.rng), parent=parent)

    def observe(self, trial: Trial) -> None:
        if trial.done:
            self.population.append(trial)


@hookimpl
def nasreg_plugin() -> PluginInfo:
    return PluginInfo(api=2)


@hookimpl
def nasreg_algorithms() -> Iterable[AlgorithmSpec]:
    return [
        AlgorithmSpec(
            name="aging-evolution",
            summary="evolution in tournaments, in which the oldest member dies",
            paper="Real et al.: Regularized Evolution for Image Classifier Architecture Search,"
            " https://arxiv.org/abs/1802.01548",
            family="multi-trial",
            primitives=PRIMITIVES,
            mutator=MutatorSpec(factory=RegularizedEvolution, config=RegularizedEvolutionConfig),
            presets={
                "paper": Preset(
                    summary="a population of 100, tournaments of 25, 20,000 trials of 25 epochs",
                    trainer={"max_trials": 20_000},
                    evaluator={"epochs": 25},
                ),
                "demo": Preset(
                    summary="12 trials of two epochs",
                    mutator={"population": 5, "sample": 2},
                    trainer={"max_trials": 12},
                    evaluator={"epochs": 2, "lr": 0.2, "batch_size": 16},
                    spaces={"chain": {"blocks": 2, "channels": 4}},
                ),
            },
            default_preset="demo",
            default_space="chain",
        )
    ]


if __name__ == "__main__":
    nasreg.register(sys.modules[__name__])
    result = nasreg.search("chain", "digits", "aging-evolution", seed=0, dataset_options={"limit": 600})
    for trial in result.trials:
        print(f"{trial['trial']:2}  from {trial.get('parent', '-'):>2}  accuracy {trial['score']:.3f}")
    print(result.architecture.decisions)
