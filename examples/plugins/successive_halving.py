"""Successive halving: many architectures are trained a little, the best of them longer, and so on.

Jamieson, Talwalkar: Non-stochastic Best Arm Identification and Hyperparameter Optimization, arXiv 1502.07943, with the
geometric rungs of Hyperband (arXiv 1603.06560). In rung k of 0..K an architecture gets eta^(k - K) of the evaluator's
full effort, and the best 1/eta of a rung enter the next one. There a trial starts from the weights of its earlier trial
(``evaluator.inherit_weights``); the schedule of the learning rate starts again, too. The result of the search is the
trial with the best score of the last rung. ``plugins/bayes`` has an algorithm ``successive-halving`` that does more.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Iterable
from operator import attrgetter

from pydantic import Field

import nasreg
from nasreg.hookspecs import hookimpl
from nasreg.mutators import MultiTrialMutator
from nasreg.specs import PRIMITIVES, AlgorithmSpec, Config, MutatorSpec, PluginInfo, Preset, Proposal, Trial


class SuccessiveHalvingConfig(Config):
    architectures: int = Field(default=9, ge=1, description="architectures in the first rung")
    eta: int = Field(default=3, ge=2, description="one of so many enters the next rung, for so many times the effort")


class SuccessiveHalving(MultiTrialMutator):
    config: SuccessiveHalvingConfig

    def setup(self) -> None:
        self.rungs_left = int(math.log(self.config.architectures, self.config.eta) + 1e-9)
        self.waiting: deque[Trial | None] = deque([None] * self.config.architectures)
        """For each proposal that is left in this rung the earlier trial of its architecture; None in the first rung."""
        self.running: set[int] = set()
        self.scored: list[Trial] = []

    def propose(self) -> Proposal | None:
        if not self.waiting:
            return None  # the rung has to end first; after the last one this ends the search
        earlier = self.waiting.popleft()
        architecture = self.space.sample(self.rng) if earlier is None else earlier.architecture
        fidelity = float(self.config.eta**-self.rungs_left)
        proposal = self.proposal(architecture, parent=earlier, fidelity=fidelity)
        self.running.add(proposal.id)
        return proposal

    def observe(self, trial: Trial) -> None:
        if trial.id not in self.running:
            return  # an architecture that was given to the search beforehand
        self.running.remove(trial.id)
        if trial.done:
            self.scored.append(trial)
        if not self.waiting and not self.running and self.rungs_left:
            survivors = max(1, len(self.scored) // self.config.eta)
            self.waiting.extend(sorted(self.scored, key=attrgetter("score"), reverse=True)[:survivors])
            self.scored = []
            self.rungs_left -= 1


@hookimpl
def nasreg_plugin() -> PluginInfo:
    return PluginInfo(api=2)


@hookimpl
def nasreg_algorithms() -> Iterable[AlgorithmSpec]:
    return [
        AlgorithmSpec(
            name="halving",
            summary="rungs of ever fewer architectures, each trained for ever more epochs",
            paper="Jamieson, Talwalkar: Non-stochastic Best Arm Identification and Hyperparameter Optimization,"
            " https://arxiv.org/abs/1502.07943",
            family="multi-trial",
            primitives=PRIMITIVES,
            mutator=MutatorSpec(factory=SuccessiveHalving, config=SuccessiveHalvingConfig),
            fidelity=True,
            presets={
                "demo": Preset(
                    summary="6 architectures for one epoch, 3 for two, 1 for four",
                    mutator={"architectures": 6, "eta": 2},
                    evaluator={"epochs": 4, "lr": 0.1, "batch_size": 16, "inherit_weights": True},
                    spaces={"chain": {"blocks": 2, "channels": 4}},
                ),
            },
            default_preset="demo",
            default_space="chain",
        )
    ]


if __name__ == "__main__":
    nasreg.register(sys.modules[__name__])
    result = nasreg.search("chain", "digits", "halving", seed=0, dataset_options={"limit": 600})
    for trial in result.trials:
        effort = f"{trial.get('fidelity', 1):.2f}"
        print(f"{trial['trial']:2}  from {trial.get('parent', '-'):>2}  effort {effort}  accuracy {trial['score']:.3f}")
    print(result.architecture.decisions)
