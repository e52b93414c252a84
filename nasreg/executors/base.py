"""The base of executors, which evaluate proposals one at a time or several at once. Imports no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from nasreg.specs.trial import Proposal, Score


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of an evaluation: a score, or the reason why there is none."""

    score: Score | None
    reason: str | None = None
    """In one line."""
    traceback: str | None = None
    seconds: float = 0.0


Evaluate = Callable[[Proposal], Outcome]
"""Evaluates a proposal; what goes wrong in it is an outcome, too.

It raises only if the search is interrupted, or if files cannot be written.
"""


class TrialExecutor(ABC):
    """Evaluates proposals.

    Attributes:
        workers: Number of proposals that it evaluates at the same time.
    """

    workers: int

    @abstractmethod
    def submit(self, proposal: Proposal) -> None:
        """Begin to evaluate a proposal. No more than ``workers`` are submitted and not yet returned by ``poll``."""

    @abstractmethod
    def poll(self, timeout: float) -> list[tuple[Proposal, Outcome]]:
        """Wait for evaluations to end.

        Args:
            timeout: Seconds after which to return with what there is, which may be nothing.

        Returns:
            The proposals whose evaluation has ended, each once.

        Raises:
            InterruptedRunError: An evaluation was interrupted by a signal.
            StorageError: A file of the run cannot be written.
        """

    def interrupt(self) -> list[tuple[Proposal, Outcome]]:
        """Ask the running evaluations to save their state and end; return those that have ended with an outcome."""
        return []

    def close(self) -> None:  # noqa: B027  # nothing to do is a good default
        """Free what it holds, such as processes, at once. A later call does nothing."""
