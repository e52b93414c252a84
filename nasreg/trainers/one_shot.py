"""What the author of a one-shot algorithm builds a trainer on: one supernet, trained together with its mutator."""

from __future__ import annotations

from torch import nn

from nasreg.mutators.base import OneShotMutator
from nasreg.nn.extract import extract_space
from nasreg.trainers.config import OneShotTrainerConfig
from nasreg.trainers.search import SearchTrainer


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
        self.model = self.task.build().to(self.task.device)
        self.mutator = self.task.mutator(extract_space(self.model)).to(self.task.device)
        self.mutator.attach(self.model)

    def supernet(self) -> nn.Module | None:
        """Return the trained supernet with its choices undecided again."""
        self.mutator.detach(self.model)
        return self.model
