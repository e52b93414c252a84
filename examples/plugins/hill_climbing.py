"""Hill climbing: each architecture is a neighbour of the best so far, and inherits its weights.

Elsken, Metzen, Hutter: Simple and Efficient Architecture Search for Convolutional Neural Networks, arXiv 1711.04528.
Differing from the paper, there is one neighbour at a time, and weights are inherited where their names and shapes
agree, without network morphisms. The mutator only names the parent; whether a trial inherits its weights is an option
of the evaluator (``evaluator.inherit_weights``). The package nasreg-morphism has the paper's algorithm.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import nasreg
from nasreg.hookspecs import hookimpl
from nasreg.mutators import MultiTrialMutator
from nasreg.specs import PRIMITIVES, AlgorithmSpec, Config, MutatorSpec, PluginInfo, Preset, Proposal


class HillClimbing(MultiTrialMutator):
    def propose(self) -> Proposal:
        if self.best is None:
            return self.proposal(self.space.sample(self.rng))
        return self.proposal(self.space.mutate(self.best.architecture, self.rng), parent=self.best)


@hookimpl
def nasreg_plugin() -> PluginInfo:
    return PluginInfo(api=2)


@hookimpl
def nasreg_algorithms() -> Iterable[AlgorithmSpec]:
    return [
        AlgorithmSpec(
            name="stochastic-hill-climbing",
            summary="local search, in which a network starts from the weights of the best one so far",
            paper="Elsken, Metzen, Hutter: Simple and Efficient Architecture Search for Convolutional Neural Networks,"
            " https://arxiv.org/abs/1711.04528",
            family="multi-trial",
            primitives=PRIMITIVES,
            mutator=MutatorSpec(factory=HillClimbing, config=Config),
            presets={
                "demo": Preset(
                    summary="10 trials of one epoch",
                    trainer={"max_trials": 10},
                    evaluator={"epochs": 1, "lr": 0.1, "batch_size": 16, "inherit_weights": True},
                    spaces={"chain": {"blocks": 3, "channels": 4}},
                ),
            },
            default_preset="demo",
            default_space="chain",
        )
    ]


if __name__ == "__main__":
    nasreg.register(sys.modules[__name__])
    result = nasreg.search("chain", "digits", "stochastic-hill-climbing", seed=0, dataset_options={"limit": 600})
    for trial in result.trials:
        print(f"{trial['trial']:2}  from {trial.get('parent', '-'):>2}  accuracy {trial['score']:.3f}")
    print(result.architecture.decisions)
