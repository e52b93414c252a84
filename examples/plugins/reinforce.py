"""REINFORCE: a recurrent controller learns which architectures score well.

Zoph, Le: Neural Architecture Search with Reinforcement Learning, arXiv 1611.01578, section 3.2: one reward for all
steps of an architecture, and a moving average of the rewards as the baseline. Differing from the paper, the controller
is a GRU, it is updated after each trial, and a bonus for the entropy keeps it from deciding too early. The package
nasreg-nasnet has controllers made of the core's building blocks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

import nasreg
from nasreg.hookspecs import hookimpl
from nasreg.mutators import MultiTrialMutator
from nasreg.specs import (
    PRIMITIVES,
    AlgorithmSpec,
    Config,
    MutatorSpec,
    PluginInfo,
    Preset,
    Proposal,
    SearchSpaceSpec,
    Trial,
)


class ReinforceConfig(Config):
    hidden: int = Field(default=32, ge=1, description="size of the controller's state")
    lr: float = Field(default=0.01, gt=0, description="learning rate of the controller (Adam)")
    decay: float = Field(default=0.9, ge=0, lt=1, description="decay of the moving average of rewards")
    entropy: float = Field(default=1e-3, ge=0, description="factor of the entropy of the controller's decisions")


class Episode(NamedTuple):
    """An architecture as the controller decides it."""

    indices: list[int]
    log_probability: Tensor
    entropy: Tensor


class Controller(nn.Module):
    """Takes the steps of a search space one by one; each depends on those before it."""

    def __init__(self, space: SearchSpaceSpec, hidden: int) -> None:
        super().__init__()
        self.space = space
        self.start = nn.Parameter(torch.zeros(1, hidden))
        self.cell = nn.GRUCell(hidden, hidden)
        self.heads = nn.ModuleList(nn.Linear(hidden, len(step.options)) for step in space.steps)
        self.embeddings = nn.ModuleList(nn.Embedding(len(step.options), hidden) for step in space.steps)

    def forward(self, given: Sequence[int] | None = None) -> Episode:
        """Take all steps: those given, or drawn ones."""
        indices: list[int] = []
        log_probability = entropy = torch.zeros(())
        x, state = self.start, torch.zeros_like(self.start)
        for number, (head, embedding) in enumerate(zip(self.heads, self.embeddings, strict=True)):
            state = self.cell(x, state)
            allowed = torch.tensor(self.space.allowed(indices))
            logs = torch.log_softmax(head(state)[0, allowed], 0)
            place = torch.multinomial(logs.exp(), 1) if given is None else (allowed == given[number]).nonzero()[0]
            indices.append(int(allowed[place]))
            log_probability = log_probability + logs[place].sum()
            entropy = entropy - (logs.exp() * logs).sum()
            x = embedding(allowed[place])
        return Episode(indices, log_probability, entropy)


class Reinforce(MultiTrialMutator):
    config: ReinforceConfig

    def setup(self) -> None:
        self.controller = Controller(self.space, self.config.hidden)
        self.optimizer = torch.optim.Adam(self.controller.parameters(), lr=self.config.lr)
        self.baseline: float | None = None

    @torch.no_grad()
    def propose(self) -> Proposal:
        return self.proposal(self.space.architecture_of(self.controller().indices))

    def observe(self, trial: Trial) -> None:
        if trial.score is None:
            return
        reward = trial.score.value if trial.score.higher_is_better else -trial.score.value
        if self.baseline is None:
            self.baseline = reward
        episode = self.controller(self.space.indices_of(trial.architecture))
        loss = -(reward - self.baseline) * episode.log_probability - self.config.entropy * episode.entropy
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        self.baseline = self.config.decay * self.baseline + (1 - self.config.decay) * reward


@hookimpl
def nasreg_plugin() -> PluginInfo:
    return PluginInfo(api=2)


@hookimpl
def nasreg_algorithms() -> Iterable[AlgorithmSpec]:
    return [
        AlgorithmSpec(
            name="gru-controller",
            summary="a recurrent controller, trained by REINFORCE with a moving average as the baseline",
            paper="Zoph, Le: Neural Architecture Search with Reinforcement Learning, https://arxiv.org/abs/1611.01578",
            family="multi-trial",
            primitives=PRIMITIVES,
            mutator=MutatorSpec(factory=Reinforce, config=ReinforceConfig),
            presets={
                "demo": Preset(
                    summary="12 trials of two epochs",
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
    result = nasreg.search("chain", "digits", "gru-controller", seed=0, dataset_options={"limit": 600})
    for trial in result.trials:
        print(f"{trial['trial']:2}  accuracy {trial['score']:.3f}")
    print(result.architecture.decisions)
