"""The base of all search trainers: the loop, with a mutator that knows an architecture at any time."""

from __future__ import annotations

import time
from typing import Any, cast

from torch import nn

from nasreg.events import EpochEnded, Event, Notice, RunEnded
from nasreg.mutators.base import Mutator
from nasreg.specs.architecture import Architecture, CellDecision
from nasreg.specs.space import SKIP, CellSpec, SearchSpaceSpec
from nasreg.trainers.loop import Loop
from nasreg.trainers.task import SearchTask


class SearchTrainer(Loop):
    """Trains a model, epoch by epoch, and has a mutator that knows an architecture at any time.

    Authors derive from ``OneShotTrainer`` or ``TrialTrainer``.

    Args:
        task: What to search.
        config: Options.

    Attributes:
        mutator: Decides the choices.
    """

    task: SearchTask
    mutator: Mutator

    def supernet(self) -> nn.Module | None:
        """Return the trained supernet with its choices undecided again; None in a family that has none."""
        return None

    def epoch_ended(self, metrics: dict[str, float], began: float) -> None:
        """Keep the architecture of the epoch, and warn of cells that collapse into skip connections."""
        architecture = self.mutator.architecture()
        skips, collapsed = count_skips(self.task.space, architecture)
        epoch = self.position.epoch
        if self.task.run:
            self.task.run.write_text(f"architectures/epoch-{epoch + 1:04}.json", architecture.to_json())
        self.task.emit(
            EpochEnded(
                epoch=epoch,
                epochs=self.epochs,
                seconds=time.monotonic() - began,
                metrics=metrics,
                architecture=architecture,
                strengths=self.mutator.strengths(),
                skips=skips,
                weights=self.mutator.weights(),
            )
        )
        for key, (count, kept) in collapsed.items():
            self.task.emit(
                Notice(
                    f"cell {key!r} collapses into skip connections: {count} of {kept} kept edges are {SKIP}."
                    " Such architectures rarely retrain well; fewer epochs or another seed may help"
                )
            )

    def ended(self) -> Event:
        """Tell what was found."""
        return RunEnded(self.mutator.architecture(), self.run_path, self.position.metrics)

    def state_dict(self) -> dict[str, Any]:
        """Add the mutator."""
        return {**super().state_dict(), "mutator": self.mutator.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set what ``state_dict`` returned."""
        super().load_state_dict(state)
        self.mutator.load_state_dict(state["mutator"])


def count_skips(
    space: SearchSpaceSpec, architecture: Architecture
) -> tuple[dict[str, int], dict[str, tuple[int, int]]]:
    """Count the skip connections that an architecture keeps.

    Returns:
        Key of each cell -> number of ``skip_connect``; and key -> (number, kept edges) of each normal cell where they
        are more than half (the collapse that P-DARTS, arXiv 1904.12760, section 3.3, describes).
    """
    skips, collapsed = {}, {}
    for cell in space.choices:
        if isinstance(cell, CellSpec):
            kept = [edge for node in cast("CellDecision", architecture.decisions[cell.key]) for edge in node]
            skips[cell.key] = sum(operation == SKIP for operation, _ in kept)
            if not cell.reduction and 2 * skips[cell.key] > len(kept):
                collapsed[cell.key] = (skips[cell.key], len(kept))
    return skips, collapsed
