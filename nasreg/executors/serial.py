"""Evaluates one proposal after the other in this process. Imports no torch."""

from __future__ import annotations

from nasreg.executors.base import Evaluate, Outcome, TrialExecutor
from nasreg.specs.trial import Proposal


class SerialExecutor(TrialExecutor):
    """Evaluates proposals in this process.

    Args:
        evaluate: Evaluates one.
        workers: Number of proposals that may be out at once; they are evaluated one after the other all the same, so
            that a search with several workers can be repeated in one process, with the same result.
    """

    def __init__(self, evaluate: Evaluate, workers: int = 1) -> None:
        self.workers = workers
        self._evaluate = evaluate
        self._waiting: list[Proposal] = []

    def submit(self, proposal: Proposal) -> None:
        """Keep a proposal until it is asked for."""
        self._waiting.append(proposal)

    def poll(self, timeout: float) -> list[tuple[Proposal, Outcome]]:
        """Evaluate the proposal that was submitted first."""
        del timeout
        proposal = self._waiting[0]
        outcome = self._evaluate(proposal)  # may be interrupted
        del self._waiting[0]
        return [(proposal, outcome)]
