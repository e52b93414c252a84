"""The base of one-shot trainers: one supernet, trained together with its mutator."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from nasreg.events import TrainedModel
from nasreg.mutators.base import OneShotMutator
from nasreg.nn import Execution, extract_space, set_execution
from nasreg.trainers.config import OneShotTrainerConfig
from nasreg.trainers.search import SearchTrainer


class OneShotTrainer(SearchTrainer):
    """Trains a supernet and its mutator.

    A subclass makes its optimisers in ``setup``, after ``super().setup()``, and does one step in ``train_step``.
    """

    config: OneShotTrainerConfig
    mutator: OneShotMutator
    trained_model: ClassVar[TrainedModel] = "supernet"

    @property
    def epochs(self) -> int:
        """All epochs of the search."""
        return self.config.epochs

    def setup(self) -> None:
        """Build the supernet and the mutator, and attach one to the other.

        Raises:
            SpaceError: The model has no search space, or one that contradicts itself.
        """
        self.model = self.build()
        self.mutator = self.context.make_mutator(extract_space(self.model)).to(self.context.device)
        self.mutator.attach(self.model)

    def build(self, **capabilities: Any) -> nn.Module:
        """Build a supernet on the device that computes as the options say; takes what ``build_supernet`` does."""
        model = self.context.build_supernet(**capabilities).to(self.context.device)
        execution = self.execution()
        set_execution(model, execution)
        if execution.optimized and self.context.device.type == "cpu":
            _set_memory_format(model, torch.channels_last)
        return model

    def execution(self) -> Execution:
        """Return how the choices of a supernet compute, as the options say."""
        config = self.config
        return Execution(optimized=config.execution == "optimized", checkpoint=config.activation_checkpointing)

    def supernet(self) -> nn.Module | None:
        """Return the trained supernet with its choices undecided again."""
        self.mutator.detach(self.model)
        set_execution(self.model, Execution())
        _set_memory_format(self.model, None)
        return self.model


def _set_memory_format(model: nn.Module, memory_format: torch.memory_format | None) -> None:
    """Set the memory format of a model that has an attribute for it; such a model works with either."""
    if hasattr(model, "memory_format"):
        model.memory_format = memory_format  # type: ignore[assignment]  # torch knows of tensors and modules only
