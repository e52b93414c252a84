"""DARTS (Liu, Simonyan, Yang, arXiv 1806.09055, algorithm 1): the second order of the core's bilevel optimisation.

What differs from the authors' program: the extra passes of the second order leave the running statistics of BatchNorm
unchanged, and the product with the second derivative can be computed exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from nasreg.nn import fast_double_backward, skip_grad_for
from nasreg.trainers import Batch, BilevelTrainer, part_of
from nasreg_darts.config import DartsTrainerConfig


class DartsTrainer(BilevelTrainer):
    """DARTS: first order, or second order through one virtual step of the weights."""

    config: DartsTrainerConfig

    def arch_gradient(self, train: Batch, arch: Batch) -> list[Tensor]:
        """Return the gradient by the alphas: equation 7 of the paper, or its first term at the present weights.

        Args:
            train: Batch of the train split, which only the second order uses.
            arch: Batch of the arch split.

        Raises:
            TrainingError: A loss is not finite.
        """
        if not self.config.second_order:
            return super().arch_gradient(train, arch)
        # dalpha Larch(w', alpha) - eta * d2(alpha, w) Ltrain(w, alpha) . dw' Larch(w', alpha)
        rate = self.optimizers["weights"].param_groups[0]["lr"]
        exact = self.config.hessian_product == "exact"
        training = self.differentiable_gradients(train) if exact and self.config.accumulate == 1 else None
        unrolled = self.unrolled_weights(train, training)
        both = self.gradients(arch, [*self.alphas, *unrolled.values()], unrolled)
        self.check_finite(both.loss, "arch")
        first, vector = both.values[: len(self.alphas)], both.values[len(self.alphas) :]
        second = self.hessian_vector_product(train, vector, training)
        return [a - rate * b for a, b in zip(first, second, strict=True)]

    def unrolled_weights(self, train: Batch, training: Sequence[Tensor] | None = None) -> dict[str, Tensor]:
        """Return the weights after a virtual step: w' = w - eta (momentum * buffer + gradient + decay * w).

        They are copies: the model's own weights and the optimiser do not change.

        Args:
            train: Batch of the train split.
            training: The gradient of its loss by the weights, if it is known; of several processes, this one's part.
        """
        optimizer = self.optimizers["weights"]
        group = optimizer.param_groups[0]
        if training is None:
            gradients = self.gradients(train, list(self.weights.values()), self.weights)
            self.check_finite(gradients.loss, "training")
            training = gradients.values
        else:
            training = self.processes.sums(training)
        unrolled = {}
        for (name, weight), gradient in zip(self.weights.items(), training, strict=True):
            step = gradient.detach() + group["weight_decay"] * weight.detach()
            buffer = optimizer.state[weight].get("momentum_buffer")
            if buffer is not None:
                step = step + group["momentum"] * buffer
            unrolled[name] = (weight.detach() - group["lr"] * step).requires_grad_()
        return unrolled

    def differentiable_gradients(self, train: Batch) -> list[Tensor]:
        """Return the gradient of the training loss by the weights, which can be differentiated by the alphas.

        Of several processes, each returns its part of the sum.
        """
        execution = self.execution()
        keep = not execution.checkpoint
        with fast_double_backward(keep_activations=keep) if execution.optimized else nullcontext():
            loss, _ = self.forward(*train, self.weights)
        self.check_finite(loss.detach(), "training")
        loss = loss * part_of(train)[0]
        weights = list(self.weights.values())
        return list(torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True, materialize_grads=True))

    def hessian_vector_product(
        self, train: Batch, vector: Sequence[Tensor], training: Sequence[Tensor] | None = None
    ) -> list[Tensor]:
        """Return the derivative of dalpha Ltrain(w, alpha) by the weights, along ``vector``.

        Args:
            train: Batch of the train split.
            vector: One tensor for each weight, in the order of ``weights``.
            training: The gradient of its loss by the weights, in a form that can be differentiated, if it is known from
                the virtual step.
        """
        if training is not None:
            return self.processes.sums(self._along(training, vector))
        if self.config.hessian_product == "exact":
            return self.processes.sums(self._exact_product(train, vector))
        # Equation 8: a central difference.
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(part) for part in vector]))
        step = self.config.finite_difference_step / norm.clamp_min(torch.finfo(norm.dtype).tiny)  # a zero vector
        sides = []
        for sign in (1, -1):
            moved = {
                name: weight.detach() + sign * step * part
                for (name, weight), part in zip(self.weights.items(), vector, strict=True)
            }
            sides.append(self.gradients(train, self.alphas, moved).values)
        return [(plus - minus) / (2 * step) for plus, minus in zip(*sides, strict=True)]

    def _exact_product(self, train: Batch, vector: Sequence[Tensor]) -> list[Tensor]:
        total = [torch.zeros_like(alpha) for alpha in self.alphas]
        for x, y, share in self.pieces(train):
            product = self._along(self.differentiable_gradients((x, y)), vector)
            total = [one + share * part for one, part in zip(total, product, strict=True)]
        return total

    def _along(self, gradients: Sequence[Tensor], vector: Sequence[Tensor]) -> list[Tensor]:
        """Differentiate gradients by the alphas, along a vector: d/dalpha <gradients, vector>."""
        pairs = [(gradient, part) for gradient, part in zip(gradients, vector, strict=True) if gradient.requires_grad]
        if not pairs:
            return [torch.zeros_like(alpha) for alpha in self.alphas]
        outputs, along = zip(*pairs, strict=True)
        with skip_grad_for(self.weights.values()):
            return list(torch.autograd.grad(outputs, self.alphas, along, allow_unused=True, materialize_grads=True))
