"""Small functions of training loops."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase


def set_training_mode(model: nn.Module) -> None:
    """Set a model to training mode, except each frozen normalisation, whose statistics are frozen, too.

    Frozen is a layer with parameters of which none requires a gradient; one without parameters is where all parameters
    of the module around it are frozen.
    """
    model.train()
    for module in model.modules():
        for layer in (module, *module.children()):
            if isinstance(layer, _NormBase):
                own = next(layer.parameters(), None) is not None
                if _is_frozen(layer if own else module):
                    layer.eval()


def _is_frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)


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
