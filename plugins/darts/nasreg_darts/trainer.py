"""The bilevel optimisation of DARTS (Liu, Simonyan, Yang, arXiv 1806.09055, algorithm 1), first and second order.

Each step moves the alphas on a validation batch, then the weights on a training batch. What differs from the authors'
program: the extra passes of the second order leave the running statistics of BatchNorm alone, and the product with the
second derivative can be taken exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from nasreg.nn import FastLayers, call_with, leaving_out
from nasreg.trainers import Batch, OneShotTrainer, SearchTask, cosine_rate
from nasreg_darts.budget import ParameterBudget
from nasreg_darts.config import BilevelTrainerConfig, DartsTrainerConfig
from nasreg_darts.mutator import DartsMutator


class BilevelTrainer(OneShotTrainer):
    """Alternates a step of the alphas (Adam) and a step of the weights (SGD), first order.

    Args:
        task: What to search.
        config: Options.

    Attributes:
        weights: Parameters of the supernet by name; the alphas are not among them.
        alphas: Parameters of the mutator.
        budget: What is known of the number of weights, where there is a limit to it.
    """

    options: BilevelTrainerConfig
    mutator: DartsMutator

    def __init__(self, task: SearchTask, config: BilevelTrainerConfig) -> None:
        super().__init__(task, config)
        self.weights: dict[str, Tensor] = {}
        self.alphas: list[Tensor] = []
        self.budget: ParameterBudget | None = None

    def setup(self) -> None:
        """Build the supernet, the alphas and both optimisers."""
        super().setup()
        self.make_optimizers()

    def make_optimizers(self) -> None:
        """Make both optimisers, and know the budget, for the present supernet and alphas."""
        options = self.options
        if options.max_parameters is not None:
            self.budget = ParameterBudget(self.model, self.mutator, options.max_parameters)
        self.weights = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        self.alphas = list(self.mutator.parameters())
        self.optimizers = {
            "weights": torch.optim.SGD(
                self.weights.values(),
                lr=options.weights_lr,
                momentum=options.weights_momentum,
                weight_decay=options.weights_decay,
            ),
            "alphas": torch.optim.Adam(
                self.alphas, lr=options.alphas_lr, betas=options.alphas_betas, weight_decay=options.alphas_decay
            ),
        }

    def start_epoch(self, epoch: int) -> None:
        """Set the weights' learning rate: a cosine over the epochs."""
        rate = cosine_rate(self.options.weights_lr, self.options.weights_lr_min, epoch, self.options.epochs)
        self.optimizers["weights"].param_groups[0]["lr"] = rate

    def train_step(self, weights: Batch, alphas: Batch | None) -> tuple[float, int]:
        """Move the alphas, then the weights."""
        if alphas is not None:
            gradient = self.alpha_gradient(weights, alphas)
            if self.budget is not None:
                penalty = self.options.budget_weight * self.budget.penalty()
                extra = torch.autograd.grad(penalty, self.alphas, allow_unused=True, materialize_grads=True)
                gradient = [one + other for one, other in zip(gradient, extra, strict=True)]
            _set_gradients(self.alphas, gradient)
            self.optimizers["alphas"].step()
        return self._weight_step(weights)

    def _weight_step(self, batch: Batch) -> tuple[float, int]:
        gradients, mean, correct = self.gradients(batch, list(self.weights.values()))
        loss = self.check_finite(mean, "training")
        _set_gradients(self.weights.values(), gradients)
        torch.nn.utils.clip_grad_norm_(self.weights.values(), self.options.grad_clip)
        self.optimizers["weights"].step()
        return loss, int(correct)

    def alpha_gradient(self, train: Batch, valid: Batch) -> list[Tensor]:
        """Return the gradient by the alphas that one step uses, in the order of ``alphas``.

        Args:
            train: Batch of the weights' part; the first order does not look at it.
            valid: Batch of the alphas' part.

        Raises:
            TrainingError: The validation loss is not finite.
        """
        del train
        gradient, loss, _ = self.gradients(valid, self.alphas)
        self.check_finite(loss, "validation")
        return gradient

    def gradients(
        self, batch: Batch, by: Sequence[Tensor], weights: Mapping[str, Tensor] | None = None
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """Return the gradient of the mean loss by some tensors only, the loss, and the number of right answers.

        Args:
            batch: Images and labels.
            by: What to differentiate by; nothing else gets a gradient, so that nothing else costs time.
            weights: Use these instead of the model's own, and leave its BatchNorm statistics alone.
        """
        total = [torch.zeros_like(tensor) for tensor in by]
        mean = torch.zeros((), device=batch[0].device)
        correct = torch.zeros((), device=batch[0].device, dtype=torch.int64)
        with self._only(by):
            for x, y, share in self.pieces(batch):
                loss, right = self.forward(x, y, weights)
                gradients = torch.autograd.grad(loss * share, by, allow_unused=True)
                for tensor, gradient in zip(total, gradients, strict=True):
                    if gradient is not None:
                        tensor.add_(gradient)
                mean = mean + loss.detach() * share
                correct = correct + right
        return total, mean, correct

    @contextmanager
    def _only(self, by: Sequence[Tensor]) -> Iterator[None]:
        """Let no other weight or alpha ask for a gradient, so that nothing is kept or computed for one."""
        wanted = set(map(id, by))
        others = [tensor for tensor in (*self.weights.values(), *self.alphas) if id(tensor) not in wanted]
        for tensor in others:
            tensor.requires_grad_(False)
        try:
            yield
        finally:
            for tensor in others:
                tensor.requires_grad_(True)

    def forward(self, x: Tensor, y: Tensor, weights: Mapping[str, Tensor] | None) -> tuple[Tensor, Tensor]:
        """Return the mean loss and the number of right answers; see ``gradients`` for ``weights``."""
        with self.autocast():
            if weights is None:
                logits = self.model(x)
            else:
                buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
                logits = call_with(self.model, {**weights, **buffers}, x)
        if logits.dtype in (torch.bfloat16, torch.float16):
            logits = logits.float()
        return F.cross_entropy(logits, y), (logits.detach().argmax(1) == y).sum()


class DartsTrainer(BilevelTrainer):
    """DARTS: first order, or second order through one virtual step of the weights."""

    options: DartsTrainerConfig

    def alpha_gradient(self, train: Batch, valid: Batch) -> list[Tensor]:
        """Return the gradient by the alphas: equation 7 of the paper, or its first term at the present weights.

        Args:
            train: Batch of the weights' part; only the second order looks at it.
            valid: Batch of the alphas' part.

        Raises:
            TrainingError: A loss is not finite.
        """
        if not self.options.second_order:
            return super().alpha_gradient(train, valid)
        # dalpha Lval(w', alpha) - eta * d2(alpha, w) Ltrain(w, alpha) . dw' Lval(w', alpha)
        rate = self.optimizers["weights"].param_groups[0]["lr"]
        exact = self.options.hessian_product == "exact"
        training = self.differentiable_gradients(train) if exact and self.options.accumulate == 1 else None
        unrolled = self.unrolled_weights(train, training)
        both, loss, _ = self.gradients(valid, [*self.alphas, *unrolled.values()], unrolled)
        self.check_finite(loss, "validation")
        first, vector = both[: len(self.alphas)], both[len(self.alphas) :]
        second = self.hessian_vector_product(train, vector, training)
        return [a - rate * b for a, b in zip(first, second, strict=True)]

    def unrolled_weights(self, train: Batch, training: Sequence[Tensor] | None = None) -> dict[str, Tensor]:
        """Return the weights after a virtual step: w' = w - eta (momentum * buffer + gradient + decay * w).

        They are copies: the model's own weights and the optimiser do not change.

        Args:
            train: Batch of the weights' part.
            training: The gradient of its loss by the weights, where it is known.
        """
        optimizer = self.optimizers["weights"]
        group = optimizer.param_groups[0]
        if training is None:
            training, loss, _ = self.gradients(train, list(self.weights.values()), self.weights)
            self.check_finite(loss, "training")
        unrolled = {}
        for (name, weight), gradient in zip(self.weights.items(), training, strict=True):
            step = gradient.detach() + group["weight_decay"] * weight.detach()
            buffer = optimizer.state[weight].get("momentum_buffer")
            if buffer is not None:
                step = step + group["momentum"] * buffer
            unrolled[name] = (weight.detach() - group["lr"] * step).requires_grad_()
        return unrolled

    def differentiable_gradients(self, train: Batch) -> list[Tensor]:
        """Return the gradient of the training loss by the weights, which can be differentiated by the alphas."""
        execution = self.execution()
        with FastLayers(keep=not execution.checkpoint) if execution.optimized else nullcontext():
            loss, _ = self.forward(*train, self.weights)
        self.check_finite(loss.detach(), "training")
        weights = list(self.weights.values())
        return list(torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True, materialize_grads=True))

    def hessian_vector_product(
        self, train: Batch, vector: Sequence[Tensor], training: Sequence[Tensor] | None = None
    ) -> list[Tensor]:
        """Return the derivative of dalpha Ltrain(w, alpha) by the weights, along ``vector``.

        Args:
            train: Batch of the weights' part.
            vector: One tensor for each weight, in the order of ``weights``.
            training: The gradient of its loss by the weights, in a form that can be differentiated, where it is known:
                the virtual step has computed it.
        """
        if training is not None:
            return self._along(training, vector)
        if self.options.hessian_product == "exact":
            return self._exact_product(train, vector)
        # Equation 8: a central difference.
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(part) for part in vector]))
        step = self.options.finite_difference_step / norm
        sides = []
        for sign in (1, -1):
            moved = {
                name: weight.detach() + sign * step * part
                for (name, weight), part in zip(self.weights.items(), vector, strict=True)
            }
            sides.append(self.gradients(train, self.alphas, moved)[0])
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
        with leaving_out(self.weights.values()):
            return list(torch.autograd.grad(outputs, self.alphas, along, allow_unused=True, materialize_grads=True))


def _set_gradients(parameters: Iterable[Tensor], gradients: Iterable[Tensor]) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
