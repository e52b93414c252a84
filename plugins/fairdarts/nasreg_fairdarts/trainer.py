"""FairDARTS: Eliminating Unfair Advantages in Differentiable Architecture Search (Chu et al., arXiv 1911.12126).

The bilevel optimisation of DARTS, first order, with a zero-one loss on the sigmoid weights (section 4.2): the program's
``ConvSeparateLoss`` (l2) or ``TriSeparateLoss`` (l1). At the end the run directory has what the thresholds of the
program would keep, in ``threshold.json``: such cells have any number of operations on an edge and of edges into a node.

What differs from the program: the architecture of the run keeps the edges that DARTS would keep, since the space has so
many; see ``FairDartsMutator``.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from nasreg.specs import CellSpec
from nasreg.trainers import BilevelTrainer
from nasreg_fairdarts.config import FairDartsTrainerConfig
from nasreg_fairdarts.mutator import FairDartsMutator
from nasreg_fairdarts.threshold import dense_cell, sparse_cell


class FairDartsTrainer(BilevelTrainer):
    """Adds the zero-one loss to that of the architecture parameters."""

    config: FairDartsTrainerConfig
    mutator: FairDartsMutator

    def arch_penalty(self) -> Tensor | None:
        """Return the zero-one loss, and what the options add to it."""
        penalty = super().arch_penalty()
        loss = self.config.zero_one_weight * self.mutator.zero_one_loss(self.config.zero_one)
        return loss if penalty is None else loss + penalty

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Record, after the last epoch, the operations that reach the threshold."""
        super().end_epoch(epoch, metrics)
        if self.run is not None and (epoch + 1 == self.epochs or self.finished):
            threshold = self.mutator.config.threshold
            cells = [choice for choice in self.mutator.space.choices if isinstance(choice, CellSpec)]
            kept = {
                f"threshold_{name}": {cell.key: keep(cell, self.mutator.rows(cell), threshold) for cell in cells}
                for name, keep in (("sparse", sparse_cell), ("edge", dense_cell))
            }
            self.run.write_json("threshold.json", {"threshold": threshold, **kept})
