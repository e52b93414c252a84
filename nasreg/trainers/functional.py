"""Small functions of training loops."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from nasreg.errors import SpaceError
from nasreg.nn.recalibrate import frozen_norms


def set_training_mode(model: nn.Module) -> None:
    """Set a model to training mode, except each frozen normalisation, whose statistics are frozen, too.

    Frozen is a layer with parameters of which none requires a gradient; one without parameters is where all parameters
    of the module around it are frozen.
    """
    model.train()
    for norm in frozen_norms(model):
        norm.eval()


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters of a model that are not frozen, by name.

    Raises:
        SpaceError: There is none.
    """
    found = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not found:
        raise SpaceError(
            f"the model {type(model).__name__} has no parameter that can be trained: give it layers with parameters, or"
            " unfreeze some (requires_grad_)"
        )
    return found


def weight_optimizer(
    kind: Literal["sgd", "adamw"], weights: Iterable[Tensor], *, lr: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Return the optimiser of the weights of a network.

    Args:
        kind: Its name.
        weights: The weights.
        lr: Learning rate.
        momentum: Of SGD; AdamW has none.
        weight_decay: Weight decay.
    """
    if kind == "sgd":
        return torch.optim.SGD(weights, lr=lr, momentum=momentum, weight_decay=weight_decay)
    return torch.optim.AdamW(weights, lr=lr, weight_decay=weight_decay)


class Sums:
    """Sums of the statistics of several pieces of a batch."""

    def __init__(self) -> None:
        self.values: dict[str, Tensor] = {}

    def add(self, statistics: Mapping[str, Tensor]) -> None:
        """Add the statistics of a piece."""
        self.values = {name: self.values[name] + value if self.values else value for name, value in statistics.items()}


def cosine_rate(high: float, low: float, epoch: int, epochs: int) -> float:
    """Return the learning rate of an epoch: a cosine from ``high`` in the first towards ``low`` after the last."""
    return low + (high - low) * (1 + math.cos(math.pi * epoch / epochs)) / 2


Schedule = Literal["constant", "cosine", "linear", "exponential"]


def learning_rate(schedule: Schedule, high: float, low: float, epoch: int, epochs: int, decay: float = 1.0) -> float:
    """Return the learning rate of an epoch.

    Args:
        schedule: How it falls.
        high: Learning rate of the first epoch.
        low: Learning rate that a cosine or linear schedule reaches after the last epoch.
        epoch: The epoch, from 0.
        epochs: All epochs.
        decay: Factor per epoch of an exponential schedule.
    """
    match schedule:
        case "constant":
            return high
        case "exponential":
            return high * decay**epoch
        case "linear":
            return low + (high - low) * (1 - epoch / epochs)
        case "cosine":
            return cosine_rate(high, low, epoch, epochs)
