"""Evaluators and models for searches that end in moments; worker processes import them by name."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field
from torch import Tensor, nn

from nasreg.evaluators import Evaluator
from nasreg.mutators import MultiTrialMutator
from nasreg.nn import LayerChoice
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
    Trial,
)


class ScriptedConfig(Config):
    """What goes wrong, and where."""

    fail: tuple[int, ...] = Field(default=(), description="ids of trials that fail")
    die: str | None = Field(default=None, description="folder; the process dies once for each file ID in it")
    lose: str | None = Field(default=None, description="folder; the parent process is killed, likewise")
    sleep: float = Field(default=0.0, ge=0, description="seconds that a trial takes")


class Scripted(Evaluator):
    """Scores an architecture by the sum of its decisions, lower is better; needs neither data nor network."""

    config: ScriptedConfig
    objective = MetricSpec(name="cost", title="cost", unit="g", higher_is_better=False)

    def evaluate(self, proposal: Proposal) -> Score:
        """Return the sum of the decisions."""
        time.sleep(self.config.sleep)
        if proposal.id in self.config.fail:
            raise ValueError(f"trial {proposal.id} is told to fail")
        for folder, end in ((self.config.die, os._exit), (self.config.lose, _kill_parent)):
            for path in sorted(Path(folder).glob(f"{proposal.id}-*")) if folder is not None else []:
                path.unlink()
                end(9)
        return self.score(sum(int(str(each)) for each in proposal.architecture.decisions.values()), id=proposal.id)


def _kill_parent(number: int) -> None:
    os.kill(os.getppid(), number)
    time.sleep(60)  # this process ends with its parent


SCRIPTED = EvaluatorSpec(name="scripted", summary="sums decisions", factory=Scripted, config=ScriptedConfig)


class Digits(nn.Module):
    """A space of three digits."""

    def __init__(self, choices: int = 3, options: int = 10) -> None:
        super().__init__()
        self.digits = nn.ModuleList(
            LayerChoice({str(digit): nn.Linear(1, digit + 1) for digit in range(options)}, key=f"digit{place}")
            for place in range(choices)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add up the digits."""
        first = x.flatten(1)[:, :1]
        return sum(digit(first).sum(-1) for digit in self.digits)


class Descent(MultiTrialMutator):
    """Changes the best of the trials it has observed, and remembers what it did."""

    def setup(self) -> None:
        """Begin with no trials."""
        self.seen: list[Trial] = []

    def propose(self) -> Proposal | None:
        """Return a neighbour of the best."""
        if not self.seen:
            return self.proposal(self.space.sample(self.rng)) if self.n_proposed < 2 else None
        parent = max((trial for trial in self.seen if trial.score), key=lambda trial: trial.score, default=None)
        if parent is None:
            return self.proposal(self.space.sample(self.rng))
        return self.proposal(self.space.mutate(parent.architecture, self.rng), parent=parent)

    def observe(self, trial: Trial) -> None:
        """Remember it."""
        self.seen.append(trial)


DESCENT = AlgorithmSpec(
    name="descent",
    summary="hill climbing",
    family="multi-trial",
    primitives=frozenset({"layer", "input", "cell"}),
    mutator=MutatorSpec(factory=Descent, config=Config),
    presets={"default": Preset(summary="20 trials")},
    default_preset="default",
    default_space="chain",
    evaluator="scripted",
)


def refuse(architecture: object) -> bool:
    """Refuse architectures whose first digit is odd."""
    return int(str(architecture.decisions["digit0"])) % 2 == 0  # type: ignore[attr-defined]


def doubled(parent: Architecture, child: Architecture, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return twice the weights of a parent; a function for ``evaluator.inherit_function``."""
    assert parent.fingerprint == child.fingerprint
    return {name: 2 * value for name, value in weights.items()}
