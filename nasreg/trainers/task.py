"""What a trainer is given: the space and how to build its model, the data, the device, and where to tell of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from nasreg.events import Callback, Event
from nasreg.runs import RunDirectory
from nasreg.specs.retrain import RetrainSpec
from nasreg.specs.run import RunSpec
from nasreg.specs.space import SearchSpaceSpec

if TYPE_CHECKING:
    from nasreg.callbacks import JsonLines
    from nasreg.data import SearchData

EdgeCandidates = Mapping[str, Sequence[Sequence[str]]]
"""Key of a cell -> names of the operations possible on each of its edges."""


class Build(Protocol):
    """Builds the model with its choices."""

    def __call__(
        self, *, retrain: bool = False, added_depth: int = 0, edge_candidates: EdgeCandidates | None = None
    ) -> nn.Module:
        """Build it.

        Args:
            retrain: In the form in which its paper retrains an architecture, where the space has one.
            added_depth: Cells more than the space's own options say (an algorithm that *requires* ``depth``).
            edge_candidates: Fewer operations than the space has (one that requires ``edge_candidates``).
        """


@dataclass(kw_only=True)
class Task:
    """What every training is given: on what, where to keep it, and whom to tell of it."""

    spec: RunSpec | RetrainSpec
    space: SearchSpaceSpec
    data: SearchData
    device: torch.device
    run: RunDirectory | None = None
    """Where to keep the run; without one nothing is written and nothing can be resumed."""
    metrics: JsonLines | None = None
    callbacks: Sequence[Callback] = ()

    def emit(self, event: Event) -> None:
        """Tell all callbacks."""
        for callback in self.callbacks:
            callback(event)


@dataclass(kw_only=True)
class SearchTask(Task):
    """All that the trainer of a search is given."""

    spec: RunSpec
    build: Build
    mutator: Callable[[SearchSpaceSpec], Any]
    """Makes the algorithm's mutator for a space."""
