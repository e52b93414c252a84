"""Where a run's results go: its directory, its metrics file and its callbacks, each of which may be missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nasreg.events import Callback, Event

if TYPE_CHECKING:
    from nasreg.runs.callbacks import JsonLines
    from nasreg.runs.directory import RunDirectory


@dataclass(frozen=True)
class RunOutput:
    """Where a run's results go."""

    directory: RunDirectory | None = None
    """Without one nothing is written and nothing can be resumed."""
    metrics: JsonLines | None = None
    callbacks: Sequence[Callback] = ()

    def emit(self, event: Event) -> None:
        """Send an event to all callbacks."""
        for callback in self.callbacks:
            callback(event)
