"""ProxylessNAS (Cai, Zhu, Han: Direct Neural Architecture Search on Target Task and Hardware, arXiv 1812.00332).

The weights are trained along one sampled path. Every few steps the architecture parameters are updated, by the gradient
of binary gates (section 3.2.1) or by REINFORCE (section 3.3.2), with the expected or the sampled cost of the network.

What differs from the authors' program: learning rates fall from epoch to epoch; steps of the architecture begin right
after the warm-up; a gate counts also where the block that is skipped is the open one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nasreg.errors import ConfigError, IncompatibleError
from nasreg.mutators import MovingBaseline
from nasreg.nn import candidate_sites
from nasreg.trainers import (
    Batch,
    BilevelTrainer,
    ExpectedCost,
    Gradients,
    OneShotContext,
    StepResult,
    cosine_rate,
)
from nasreg_proxyless.config import ProxylessTrainerConfig
from nasreg_proxyless.mutator import Mode, ProxylessMutator

Candidate = tuple[str, int, str]
"""Key of a choice, number of an edge, name of a candidate."""


class ProxylessTrainer(BilevelTrainer):
    """Trains weights along sampled paths, and architecture parameters by binary gates or by REINFORCE.

    Args:
        context: The search.
        config: Options.

    Attributes:
        cost: The expected cost of the network, if it counts.
        baseline: The moving average of the rewards.
    """

    config: ProxylessTrainerConfig
    mutator: ProxylessMutator

    def __init__(self, context: OneShotContext, config: ProxylessTrainerConfig) -> None:
        super().__init__(context, config)
        self.cost: ExpectedCost | None = None
        self.baseline = MovingBaseline(config.baseline_decay)
        self._steps = 0
        """Number of steps since the warm-up."""
        self._candidate_of: dict[int, set[Candidate]] = {}
        if config.gradient == "reinforce" and not self.task.objective.higher_is_better:
            raise IncompatibleError(
                f"trainer.gradient=reinforce needs a task whose {self.task.objective.title} is higher if it is better:"
                " choose two or full"
            )

    def make_optimizers(self) -> None:
        """Make both optimisers and the cost for the present supernet and mutator."""
        super().make_optimizers()
        config = self.config
        if config.reference is not None:
            self.cost = self.expected_costs([config.cost])[config.cost]
        self._candidate_of = {}
        for site, module in candidate_sites(self.model):
            for parameter in module.parameters():
                place = (site.key, site.edge or 0, site.candidate)
                self._candidate_of.setdefault(id(parameter), set()).add(place)

    def start_epoch(self, epoch: int) -> None:
        """Set the learning rate of the weights: a cosine over the warm-up, and another over the epochs after it."""
        super().start_epoch(epoch)
        config, warmup = self.config, self.config.warmup_epochs
        if epoch < warmup:
            rate = cosine_rate(config.warmup_lr, 0.0, epoch, warmup)
        else:
            rate = cosine_rate(config.lr, config.lr_min, epoch - warmup, self.epochs - warmup)
        self.optimizers["weights"].param_groups[0]["lr"] = rate

    def train_step(self, train: Batch, arch: Batch | None) -> StepResult:
        """Update the weights, and in every ``arch_every``-th step the architecture parameters before them."""
        self._steps += arch is not None
        return super().train_step(train, arch if self._steps % self.config.arch_every == 0 else None)

    def criterion(self, output: Any, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss, with label smoothing in the steps of the weights, and the main prediction."""
        prediction, _ = self.task.outputs(output)
        smoothing = self.config.label_smoothing if self.mutator.mode == "path" else 0.0
        return self.task.loss(prediction, target, label_smoothing=smoothing), prediction

    def arch_gradient(self, train: Batch, arch: Batch) -> list[Tensor]:
        """Return the gradient by the architecture parameters: that of the gates and of the cost, or that of REINFORCE.

        Args:
            train: Batch of the train split, which is not used.
            arch: Batch of the arch split.

        Raises:
            ConfigError: The product of loss and cost has no logarithm.
            TrainingError: The loss is not finite.
        """
        del train
        if self.config.gradient == "reinforce":
            return self.reinforce(arch)
        gradients = self.gradients(arch, self.alphas)
        self.check_finite(gradients.loss, "arch")
        if self.cost is None:
            return gradients.values
        loss = gradients.loss.detach().requires_grad_()
        inputs = [loss, *self.alphas]
        factor, *of_cost = torch.autograd.grad(
            self.total_loss(loss, self.cost()), inputs, allow_unused=True, materialize_grads=True
        )
        return [factor * one + other for one, other in zip(gradients.values, of_cost, strict=True)]

    def total_loss(self, loss: Tensor, cost: Tensor) -> Tensor:
        """Return the loss with the expected cost (section 3.2.2, and the program's ``mul#log`` and ``add#linear``).

        Args:
            loss: The loss on the arch split, a scalar.
            cost: The expected cost, a scalar.

        Raises:
            ConfigError: The product needs a cost above 1.
        """
        config, reference = self.config, self.config.reference
        if reference is None:
            return loss
        if config.cost_loss == "sum":
            return loss + config.cost_lambda * (cost - reference) / reference
        if cost <= 1:
            raise ConfigError(
                f"trainer.cost_loss=product: the expected {config.cost} is {float(cost):.3g}, and the product needs its"
                " logarithm, which is 0 or negative: choose trainer.cost_loss=sum in a new run"
            )
        log_reference = torch.log(torch.as_tensor(reference, dtype=cost.dtype, device=cost.device))
        return config.cost_alpha * loss * (torch.log(cost) / log_reference) ** config.cost_beta

    def reinforce(self, arch: Batch) -> list[Tensor]:
        """Return the gradient of the negative expected reward, estimated with some sampled networks (section 3.3.2).

        Args:
            arch: Batch of the arch split, on which they are measured.
        """
        rewards: list[float] = []
        directions: list[Sequence[Tensor]] = []
        for _ in range(self.config.samples):
            rewards.append(self.reward(arch))
            directions.append(torch.autograd.grad(self.mutator.log_probability(), self.alphas))
        self.baseline.advantage(sum(rewards) / len(rewards))
        baseline = self.baseline.value or 0.0
        weights = [(baseline - reward) / len(rewards) for reward in rewards]
        return [
            torch.stack([weight * each for weight, each in zip(weights, parts, strict=True)]).sum(0)
            for parts in zip(*directions, strict=True)
        ]

    @torch.no_grad()
    def reward(self, arch: Batch) -> float:
        """Sample a network, and return its accuracy on a batch times (reference / cost) ** exponent."""
        x, y = arch
        with self.autocast():
            prediction, _ = self.task.outputs(self.model(x))
        statistics = {name: float(value) for name, value in self.task.statistics(prediction, y).items()}
        accuracy = self.task.compute(statistics)[self.task.objective.name]
        if self.cost is None or self.config.reference is None:
            return accuracy
        cost = float(self.cost(self.mutator.sampled()))
        return float(accuracy * (self.config.reference / cost) ** self.config.reward_exponent)

    def gradients(self, batch: Batch, by: Sequence[Tensor], weights: Mapping[str, Tensor] | None = None) -> Gradients:
        """Return the gradient of the mean loss: by the architecture parameters through gates, else along one path.

        Args:
            batch: Inputs ``(B, C, H, W)`` and targets; all its pieces are computed with one sample.
            by: The tensors to differentiate by.
            weights: Use these instead of the model's own.
        """
        by_arch = any(tensor is alpha for tensor in by for alpha in self.alphas)
        mode: Mode = self.config.gradient if by_arch and self.config.gradient != "reinforce" else "path"
        with self.mutator.one_sample(mode):
            return super().gradients(batch, by, weights)

    def update(
        self,
        optimizer: str,
        parameters: Iterable[Tensor],
        gradients: Iterable[Tensor] | None = None,
        *,
        max_norm: float | None = None,
    ) -> None:
        """Update parameters; candidates that were not computed keep their weights, without decay and momentum.

        After a step with two paths the probabilities of all others are as before (section 3.2.1).
        """
        before = [alpha.detach().clone() for alpha in self.alphas]
        if optimizer == "weights" and gradients is not None:
            parameters = list(parameters)
            computed = set(self.mutator.opened())
            pairs = [
                pair
                for pair in zip(parameters, gradients, strict=True)
                if not (places := self._candidate_of.get(id(pair[0]))) or places & computed
            ]
            for parameter in parameters:
                parameter.grad = None
            parameters, gradients = [parameter for parameter, _ in pairs], [gradient for _, gradient in pairs]
        super().update(optimizer, parameters, gradients, max_norm=max_norm)
        if optimizer == "arch" and self.config.gradient == "two":
            self.mutator.rescale(before)

    def measure(self) -> dict[str, float]:
        """Return the metrics of the most probable network."""
        with self.mutator.one_sample("best"):
            return super().measure()

    def state_dict(self) -> dict[str, Any]:
        """Add the baseline, and the number of steps since the warm-up."""
        return {**super().state_dict(), "baseline": self.baseline.value, "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        super().load_state_dict(state)
        self.baseline.value, self._steps = state["baseline"], state["steps"]
