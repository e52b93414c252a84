"""GDAS: one sampled candidate of each choice is computed, so that a step costs little more than that of one network.

Dong, Yang: Searching for A Robust Neural Architecture in Four GPU Hours, arXiv 1910.04465, section 3.2. Each pass draws
a candidate of each choice by the Gumbel-softmax of its architecture parameters (``HardGumbelMutator`` of the core);
the architecture parameters get the gradient of the soft sample. The temperature falls linearly. A step trains the
weights on one batch, then the architecture parameters on another, as the authors' program does (D-X-Y/AutoDL-Projects);
weights that were not drawn stay as they are, without weight decay and momentum.

What differs from the paper: reduction cells are searched, too.
"""

from __future__ import annotations

from typing import Any

from nasreg.trainers import Batch, BilevelTrainer, StepResult
from nasreg_gumbel.config import GdasTrainerConfig


class GdasTrainer(BilevelTrainer):
    """Alternates a step of the weights and a step of the architecture parameters, each on a sampled network."""

    config: GdasTrainerConfig

    def train_step(self, train: Batch, arch: Batch | None) -> StepResult:
        """Update the weights, then the architecture parameters."""
        result = self.update_weights(train)
        if arch is not None:
            self.update_alphas(train, arch)
        return result

    def update_weights(self, train: Batch) -> StepResult:
        """Update the weights that were drawn.

        Raises:
            TrainingError: The loss is not finite.
        """
        if self.config.clip_with_arch:
            return self.descend(train, max_norm=self.config.grad_clip, clip_with=self.alphas)
        with self.only(self.weights.values()):
            return self.descend(train, max_norm=self.config.grad_clip)

    def state_dict(self) -> dict[str, Any]:
        """Add the gradient of the architecture parameters, which counts in the norm of the next step."""
        gradients = {str(n): alpha.grad for n, alpha in enumerate(self.alphas) if alpha.grad is not None}
        return {**super().state_dict(), "arch_gradients": gradients}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        super().load_state_dict(state)
        for number, gradient in state["arch_gradients"].items():
            self.alphas[int(number)].grad = gradient.clone()
