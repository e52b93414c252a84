"""Bilevel optimisation of weights and architecture parameters, first order (DARTS, arXiv 1806.09055, algorithm 1).

Each step updates the architecture parameters on a batch of the arch split, then the weights on a batch of the train
split. A building block of differentiable algorithms, which change how either gradient is computed.

Options add parts of other algorithms, whatever the mutator: partial channels (PC-DARTS, 1907.05737), auxiliary skip
connections (DARTS-, 2009.01027), noise on the candidates' weights (SmoothDARTS, 2002.05283), a limit on skip
connections (DARTS+, 1909.06035), and epochs that train weights only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nasreg.data.splits import Batch
from nasreg.errors import SpaceError
from nasreg.events import NetworkMeasured, Notice
from nasreg.mutators.differentiable import SoftmaxMutator, cells_above
from nasreg.nn import AuxiliarySkips, add_auxiliary_skips, functional_call_tied, use_partial_channels
from nasreg.nn.copying import copy_module
from nasreg.specs.space import SKIP, AnyChoiceSpec, CellSpec
from nasreg.specs.trial import COSTS, PARAMETERS
from nasreg.trainers.budget import Budget, ExpectedCost, expected_costs
from nasreg.trainers.config import BilevelTrainerConfig
from nasreg.trainers.context import OneShotContext
from nasreg.trainers.functional import Sums, cosine_rate, skip_weight, trainable_parameters
from nasreg.trainers.one_shot import OneShotTrainer
from nasreg.trainers.steps import StepResult

PERTURBATION_START = 0.03
"""Noise in the first epoch, as in the program of SmoothDARTS."""


class Gradients(NamedTuple):
    """Gradients of a batch's mean loss."""

    values: list[Tensor]
    """In the order of the tensors that the loss was differentiated by."""
    loss: Tensor
    """The mean loss, a scalar."""
    statistics: dict[str, Tensor]
    """Statistics of the batch, from ``Task.statistics``; of several processes, those of the part of this one."""


class BilevelTrainer(OneShotTrainer):
    """Alternates a step of the architecture parameters (Adam) and a step of the weights (SGD), first order.

    Args:
        context: The search.
        config: Options.

    Attributes:
        weights: Parameters of the supernet by name; architecture parameters are not among them.
        alphas: The architecture parameters, which are those of the mutator.
        budget: The budget of the expected costs, if there is one.
        partial_channels: K of the next supernet that is built, by default that of the options.
        skips: The auxiliary skip connections of the present supernet, if there are any.
        frozen: Whether the architecture parameters are not trained any more.
    """

    config: BilevelTrainerConfig
    mutator: SoftmaxMutator

    def __init__(self, context: OneShotContext, config: BilevelTrainerConfig) -> None:
        super().__init__(context, config)
        self.weights: dict[str, Tensor] = {}
        self.alphas: list[Tensor] = []
        self.budget: Budget | None = None
        self.partial_channels = config.partial_channels
        self.frozen = False
        self._noise = 0.0
        self.skips: AuxiliarySkips | None = None
        self._whole: nn.Module | None = None
        """The supernet without the parts that no network has, of which a budget counts the costs."""

    def extend_supernet(self, model: nn.Module) -> None:
        """Add partial channels and auxiliary skip connections.

        Raises:
            SpaceError: The space cannot have them.
        """
        config = self.config
        adds = self.partial_channels > 1 or config.auxiliary_skip > 0
        self._whole = copy_module(model) if adds else model
        use_partial_channels(model, self.partial_channels)
        self.skips = add_auxiliary_skips(model) if config.auxiliary_skip > 0 else None

    def measure_network(self) -> NetworkMeasured | None:
        """Measure the network found with the weights of the supernet; None with partial channels, which none has."""
        return super().measure_network() if self.partial_channels == 1 else None

    def setup(self) -> None:
        """Build the supernet, the architecture parameters and both optimisers."""
        super().setup()
        self.make_optimizers()
        if self.config.skip_limit is not None and not any(_has_skips(choice) for choice in self.mutator.space.choices):
            raise SpaceError(f"skip_limit is for spaces with normal cells that have {SKIP!r}: leave it out")

    def make_optimizers(self) -> None:
        """Make both optimisers, and the budget, for the present supernet and mutator."""
        config = self.config
        given = {cost.name: getattr(config, f"max_{cost.name}") for cost in COSTS}
        if limits := {name: limit for name, limit in given.items() if limit is not None}:
            self.budget = Budget(self.expected_costs(limits), limits)
        self.weights = {**trainable_parameters(self.model)}
        self.alphas = list(self.mutator.parameters())
        self.optimizers = {
            "weights": torch.optim.SGD(
                self.weights.values(),
                lr=config.lr,
                momentum=config.momentum,
                weight_decay=config.weight_decay,
                nesterov=config.nesterov,
            ),
            "arch": torch.optim.Adam(
                self.alphas, lr=config.arch_lr, betas=config.arch_betas, weight_decay=config.arch_weight_decay
            ),
        }

    def expected_costs(self, names: Collection[str]) -> dict[str, ExpectedCost]:
        """Return expected costs of the present supernet's architectures, under the weights of the mutator.

        Args:
            names: Which of ``parameters``, ``macs`` (of one image) and ``latency_ms`` (of one image on the device).

        Raises:
            ConfigError: The given table is not of this supernet.
            SpaceError: The costs of a block depend on too much.
        """
        measured = [name for name in names if name != PARAMETERS.name]
        whole = self._whole or self.model
        table = self.cost_table(measured, whole) if measured else None
        return expected_costs(names, whole, self.mutator, table, self.context.device)

    def start_epoch(self, epoch: int) -> None:
        """Set the learning rate of the weights, a cosine over the epochs, and what else changes with them."""
        super().start_epoch(epoch)
        config = self.config
        rate = cosine_rate(config.lr, config.lr_min, epoch, config.epochs)
        self.optimizers["weights"].param_groups[0]["lr"] = rate
        if self.skips is not None:
            self.skips.weight = skip_weight(config.auxiliary_skip_schedule, config.auxiliary_skip, epoch, config.epochs)
        start = min(PERTURBATION_START, config.perturbation)
        self._noise = start + (config.perturbation - start) * epoch / config.epochs

    @property
    def stage_epochs(self) -> int:
        """Epochs of a stage, each of which begins with a warm-up; an algorithm without stages has one."""
        return self.config.epochs

    def needs_arch_batch(self, epoch: int) -> bool:
        """Return whether an epoch trains architecture parameters: after the warm-up of its stage, until frozen."""
        return epoch % self.stage_epochs >= self.config.warmup_epochs and not self.frozen

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Stop the search, or freeze the architecture parameters, if a cell has too many skip connections."""
        super().end_epoch(epoch, metrics)
        limit = self.config.skip_limit
        if limit is None or not self.needs_arch_batch(epoch):
            return
        above = cells_above(self.mutator.space, self.mutator.architecture(), SKIP, limit)
        if not above or epoch + 1 == self.epochs:
            return
        stops = self.config.skip_limit_action == "stop"
        self.finished, self.frozen = stops, True
        found = ", ".join(f"{count} {SKIP} in cell {key!r}" for key, count in above.items())
        then = "the search stops here" if stops else "architecture parameters are not trained any more"
        self.emit(Notice(f"epoch {epoch + 1}: {found}, more than skip_limit={limit}: {then}"))

    def train_step(self, train: Batch, arch: Batch | None) -> StepResult:
        """Update the architecture parameters, then the weights."""
        if arch is not None:
            self.update_alphas(train, arch)
        return self.update_weights(train)

    def update_alphas(self, train: Batch, arch: Batch) -> None:
        """Update the architecture parameters; arguments and errors are those of ``arch_gradient``."""
        gradient = self.arch_gradient(train, arch)
        if (penalty := self.arch_penalty()) is not None:
            extra = torch.autograd.grad(penalty, self.alphas, allow_unused=True, materialize_grads=True)
            gradient = [one + other for one, other in zip(gradient, extra, strict=True)]
        self.update("arch", self.alphas, gradient, max_norm=self.config.arch_grad_clip)

    def arch_penalty(self) -> Tensor | None:
        """Return what is added to the loss of the architecture parameters and depends on them alone; a scalar.

        By default that of the budget, or None.
        """
        return None if self.budget is None else self.config.budget_weight * self.budget.penalty()

    def update_weights(self, train: Batch) -> StepResult:
        """Update the weights on a batch of the train split.

        Raises:
            TrainingError: The loss is not finite.
        """
        weights = list(self.weights.values())
        with self.mutator.perturbed(self._noise):
            gradients = self.gradients(train, weights)
        loss = self.check_finite(gradients.loss, "training")
        self.update("weights", weights, gradients.values, max_norm=self.config.grad_clip)
        return StepResult(loss, gradients.statistics)

    def arch_gradient(self, train: Batch, arch: Batch) -> list[Tensor]:
        """Return the gradient by the architecture parameters that one step uses, in the order of ``alphas``.

        Args:
            train: Batch of the train split, which the first order does not use.
            arch: Batch of the arch split.

        Raises:
            TrainingError: The loss on the arch split is not finite.
        """
        del train
        gradients = self.gradients(arch, self.alphas)
        self.check_finite(gradients.loss, "arch")
        return gradients.values

    def gradients(self, batch: Batch, by: Sequence[Tensor], weights: Mapping[str, Tensor] | None = None) -> Gradients:
        """Return the gradient of the mean loss by some tensors only, over all processes.

        Args:
            batch: Inputs ``(B, C, H, W)`` and targets.
            by: The tensors to differentiate by; no other gets a gradient, so that no other costs time.
            weights: Use these instead of the model's own, and leave its BatchNorm statistics unchanged.
        """
        total = [torch.zeros_like(tensor) for tensor in by]
        mean = torch.zeros((), device=batch[0].device)
        sums = Sums()
        with self.only(by):
            for x, y, share in self.pieces(batch):
                loss, prediction = self.forward(x, y, weights)
                gradients = torch.autograd.grad(loss * share, by, allow_unused=True)
                for tensor, gradient in zip(total, gradients, strict=True):
                    if gradient is not None:
                        tensor.add_(gradient)
                mean = mean + loss.detach() * share
                sums.add(self.task.statistics(prediction.detach(), y))
        self.processes.add_up([*total, mean])
        return Gradients(total, mean, sums.values)

    @contextmanager
    def only(self, by: Iterable[Tensor]) -> Iterator[None]:
        """Let no other weight or architecture parameter require a gradient, so that none is stored or computed."""
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
        """Return the mean loss and the main prediction; see ``gradients`` for ``weights``."""
        with self.autocast():
            if weights is None:
                output = self.model(x)
            else:
                buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
                output = functional_call_tied(self.model, {**weights, **buffers}, x)
        return self.criterion(output, y)

    def state_dict(self) -> dict[str, Any]:
        """Add whether the architecture parameters are frozen."""
        return {**super().state_dict(), "frozen": self.frozen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        super().load_state_dict(state)
        self.frozen = state["frozen"]


def _has_skips(choice: AnyChoiceSpec) -> bool:
    return isinstance(choice, CellSpec) and not choice.reduction and any(SKIP in names for names in choice.candidates)
