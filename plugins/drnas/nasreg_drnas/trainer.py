"""DrNAS: Dirichlet Neural Architecture Search (Chen, Wang, Cheng, Tang, Hsieh, arXiv 2006.10355).

The bilevel optimisation of DARTS, first order, on Dirichlet samples, with weight decay or the Kullback-Leibler
divergence as regularisation, and progressive stages: between two of them each edge loses its weakest candidates, and
more channels go through those that are left, which grow wider.

What differs from the program: pools of the DARTS space have a BatchNorm, and a cell of that space is derived without
``none``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nasreg.events import StageStarted
from nasreg.nn import candidate_sites, parameter_count
from nasreg.trainers import BilevelTrainer, OneShotContext
from nasreg_drnas.config import DrnasTrainerConfig
from nasreg_drnas.mutator import DrnasMutator
from nasreg_drnas.widen import Expand, expansions


class DrnasTrainer(BilevelTrainer):
    """Runs the stages.

    Args:
        context: The search.
        config: Options.

    Attributes:
        stage: The present stage, from 0.
    """

    config: DrnasTrainerConfig
    mutator: DrnasMutator

    def __init__(self, context: OneShotContext, config: DrnasTrainerConfig) -> None:
        super().__init__(context, config)
        self.stage = 0
        self.partial_channels = self._parts(0)

    def _parts(self, stage: int) -> int:
        """Return K of a stage."""
        given = self.config.stage_partial_channels
        return given[stage] if given else self.config.partial_channels

    def arch_penalty(self) -> Tensor | None:
        """Return the weighted divergence to the flat distribution, and what the options add to it."""
        penalty = super().arch_penalty()
        if not self.config.kl_weight:
            return penalty
        divergence = self.config.kl_weight * self.mutator.divergence()
        return divergence if penalty is None else divergence + penalty

    @property
    def stage_epochs(self) -> int:
        """Epochs of each stage."""
        return self.config.stage_epochs

    def start_epoch(self, epoch: int) -> None:
        """Enter the next stage when its first epoch begins."""
        stage, within = divmod(epoch, self.stage_epochs)
        if stage != self.stage:
            self._enter(stage)
        if within == 0 and self.state.step == 0 and self.config.stages > 1:
            self.emit(StageStarted(stage + 1, self.config.stages, epoch + 1, self._summary()))
        super().start_epoch(epoch)

    def _summary(self) -> str:
        left = max(len(row) for rows in self.mutator.weights().values() for row in rows)
        parts = f", 1/{self.partial_channels} of the channels" if self.partial_channels > 1 else ""
        return f"{left} candidates per edge{parts}, {parameter_count(self.model):,} parameters"

    def _enter(self, stage: int) -> None:
        """Drop candidates, and let more channels through the others."""
        self.mutator.prune(self.config.kept[stage - 1])
        self.stage = stage
        if self._parts(stage) != self.partial_channels:
            before, optimizers = self.model, self.optimizers
            self._build(stage)
            self._inherit(before, optimizers)

    def _build(self, stage: int) -> None:
        """Build the supernet of a stage, and its optimisers."""
        self.stage, self.partial_channels = stage, self._parts(stage)
        self.model = self.build()
        self.mutator.attach(self.model)
        self.make_optimizers()

    @torch.no_grad()
    def _inherit(self, before: nn.Module, optimizers: dict[str, torch.optim.Optimizer]) -> None:
        """Take over weights, statistics and momentum of the stage before."""
        expand = self._expansions(before)
        weights, old = dict(before.named_parameters()), before.state_dict()
        self.model.load_state_dict({name: expand.get(name, torch.clone)(tensor) for name, tensor in old.items()})
        for name, weight in self.weights.items():
            momentum = optimizers["weights"].state[weights[name]].get("momentum_buffer")
            if momentum is not None:
                state = self.optimizers["weights"].state[weight]
                state["momentum_buffer"] = expand.get(name, torch.clone)(momentum)
        self.optimizers["arch"].load_state_dict(optimizers["arch"].state_dict())

    def _expansions(self, before: nn.Module) -> dict[str, Expand]:
        """Return how each parameter and buffer of the candidates grows, by its name in the model."""
        narrow = {site.path: module for site, module in candidate_sites(before)}
        return {
            f"{site.path}.{name}": expand
            for site, module in candidate_sites(self.model)
            if site.edge is not None
            for name, expand in expansions(narrow[site.path], module)
        }

    def state_dict(self) -> dict[str, Any]:
        """Add the present stage."""
        return {**super().state_dict(), "stage": self.stage}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Build the stage that was interrupted, and restore it."""
        if self._parts(state["stage"]) != self.partial_channels:
            self._build(state["stage"])
        self.stage = state["stage"]
        super().load_state_dict(state)
