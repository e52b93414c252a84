"""Parts of the work that stay pickled until they reach the process which does it.

A worker on a node is an agent, which imports no torch, and its process, which does. What is sent through the agent is
sealed, so that the agent neither imports nor copies it. Imports no torch.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass


@dataclass(frozen=True)
class SealedStart:
    """Prepares the process of a worker."""

    pickled: bytes

    def __call__(self, device: str, *, shared: bool = True) -> None:
        """Prepare this process; see ``nasreg.executors.Start``."""
        pickle.loads(self.pickled)(device, shared=shared)  # noqa: S301  # our own, from the main process


@dataclass(frozen=True)
class SealedDo:
    """Does a task in the process of a worker."""

    pickled: bytes

    def __call__(self, task: bytes) -> bytes:
        """Return the result of a task, both of them pickled."""
        do = pickle.loads(self.pickled)  # noqa: S301  # our own, from the main process
        return pickle.dumps(do(pickle.loads(task)))  # noqa: S301
