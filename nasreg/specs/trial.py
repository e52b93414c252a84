"""What a multi-trial search exchanges: a proposal, its score, and the trial that comes of it. Imports no torch.

There may be many thousands of them, so they are plain data classes; ``nasreg.runs.trials`` writes them to disk.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from nasreg.specs.architecture import Architecture
from nasreg.specs.metrics import MetricSpec

TrialStatus = Literal["done", "failed", "rejected"]
"""``done``: it has a score. ``failed``: its evaluation raised an error. ``rejected``: it was not evaluated, since it is
above the budget, filtered out, or was proposed before."""

PARAMETERS = MetricSpec(name="parameters", title="parameters", higher_is_better=False)
MACS = MetricSpec(name="macs", title="MACs", higher_is_better=False)
LATENCY = MetricSpec(name="latency_ms", title="latency", unit="ms", higher_is_better=False)

SIMULATED_SECONDS = MetricSpec(
    name="simulated_seconds", title="simulated time", unit="s", higher_is_better=False, decimals=0
)
"""The time that an evaluation stands for, in ``Score.metrics`` of an evaluator that does not take it, such as the
training whose result a table has."""

FIDELITY = MetricSpec(name="fidelity", title="fidelity", unit="%")

COSTS = (PARAMETERS, MACS, LATENCY)
"""Costs of a network that a budget may limit: multiply-accumulates and latency are of one image."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """An architecture that is to be evaluated."""

    id: int
    """Number of the proposal in the search, from 1; its trial has the same."""
    architecture: Architecture
    parent: int | None = None
    """Id of the trial that it derives from, whose weights an evaluator may start from."""
    fidelity: float = 1.0
    """Share of the evaluator's full effort, above 0 and at most 1, such as of its epochs."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the evaluator for this proposal alone, such as a learning rate that evolves with the architecture."""


def best_first_key(objective: MetricSpec, score: float | None, fidelity: float = 1.0) -> tuple[bool, float, float]:
    """Return the key that sorts trials, the best first, in the order of ``Trial.is_better_than``.

    Args:
        objective: The metric that the trials are scored by.
        score: The score; trials without one that is finite come last.
        fidelity: Share of the evaluator's full effort that it took.
    """
    missing, value = objective.sort_key(score)
    return missing, -fidelity, value


@functools.total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """The value of a proposal. Scores are ordered: the better one is the greater one, whatever the direction."""

    value: float
    """The objective of the evaluator."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Other measurements, by name."""
    higher_is_better: bool = True

    @property
    def _rank(self) -> float:
        return self.value if self.higher_is_better else -self.value

    def __eq__(self, other: object) -> bool:
        return self._rank == other._rank if isinstance(other, Score) else NotImplemented

    def __lt__(self, other: Score) -> bool:
        return self._rank < other._rank

    def __hash__(self) -> int:
        return hash(self._rank)


@dataclass(frozen=True, slots=True)
class Trial:
    """A proposal and what became of it."""

    proposal: Proposal
    status: TrialStatus
    score: Score | None = None
    """None unless it is done."""
    reason: str | None = None
    """Why it failed or was rejected, in one line."""
    seconds: float = 0.0
    """Time that its evaluation took."""
    costs: Mapping[str, float] = field(default_factory=dict)
    """Costs of its network that were measured for a budget, by name."""
    observed: int = 0
    """Number of trials that the mutator had observed when it made the proposal."""

    @property
    def id(self) -> int:
        """Number of the trial in the search, from 1."""
        return self.proposal.id

    @property
    def architecture(self) -> Architecture:
        """The architecture."""
        return self.proposal.architecture

    @property
    def done(self) -> bool:
        """Whether it has a score."""
        return self.status == "done"

    def is_better_than(self, other: Trial | None) -> bool:
        """Return whether this trial is the better one: that of the higher fidelity, else that of the better score.

        A score that took less of the evaluator's effort says less; it cannot be compared with one of the full effort.

        Args:
            other: A trial that is done; None for none.
        """
        if self.score is None or other is None or other.score is None:
            return self.score is not None
        return (self.proposal.fidelity, self.score) > (other.proposal.fidelity, other.score)

    @property
    def charged_seconds(self) -> float:
        """The time that counts against a budget: the one that its evaluator states, else the one that it took."""
        stated = None if self.score is None else self.score.metrics.get(SIMULATED_SECONDS.name)
        return self.seconds if stated is None else stated

    @property
    def metrics(self) -> Mapping[str, float]:
        """Everything that was measured beside the objective, by name."""
        return {**self.costs, **(self.score.metrics if self.score is not None else {})}
