"""What the author of a one-shot algorithm builds a trainer on: one supernet, trained together with its mutator."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from nasreg.mutators.base import OneShotMutator
from nasreg.nn.choices import set_execution
from nasreg.nn.extract import extract_space
from nasreg.nn.mixture import Execution
from nasreg.trainers.config import OneShotTrainerConfig
from nasreg.trainers.search import SearchTrainer
from nasreg.trainers.task import EdgeCandidates


class OneShotTrainer(SearchTrainer):
    """Trains a supernet and its mutator.

    A subclass makes its optimisers in ``setup``, after ``super().setup()``, and does one step in ``train_step``.
    """

    options: OneShotTrainerConfig
    mutator: OneShotMutator

    @property
    def epochs(self) -> int:
        """All epochs of the search."""
        return self.options.epochs

    def setup(self) -> None:
        """Build the supernet and the mutator, and attach one to the other.

        Raises:
            SpaceError: The model has no search space, or one that contradicts itself.
        """
        self.model = self.build()
        self.mutator = self.task.mutator(extract_space(self.model)).to(self.task.device)
        self.mutator.attach(self.model)

    def build(self, *, added_depth: int = 0, edge_candidates: EdgeCandidates | None = None) -> nn.Module:
        """Build a supernet on the device that computes as the options say; takes what ``SearchTask.build`` does."""
        # Only an algorithm that requires them asks for a changed space.
        changed: dict[str, Any] = {"added_depth": added_depth} if added_depth else {}
        if edge_candidates is not None:
            changed["edge_candidates"] = edge_candidates
        model = self.task.build(**changed).to(self.task.device)
        execution = self.execution()
        set_execution(model, execution)
        if execution.optimized and self.task.device.type == "cpu":
            _set_memory_format(model, torch.channels_last)
        return model

    def execution(self) -> Execution:
        """Return how the choices of a supernet compute; the options say it."""
        options = self.options
        return Execution(optimized=options.execution == "optimized", checkpoint=options.activation_checkpointing)

    def supernet(self) -> nn.Module | None:
        """Return the trained supernet with its choices undecided again."""
        self.mutator.detach(self.model)
        set_execution(self.model, Execution())
        _set_memory_format(self.model, None)
        return self.model


def _set_memory_format(model: nn.Module, memory_format: torch.memory_format | None) -> None:
    """Say how a model lays out its images, where it has an attribute for that: it then works with either."""
    if hasattr(model, "memory_format"):
        model.memory_format = memory_format  # type: ignore[assignment]  # torch knows of tensors and modules only
