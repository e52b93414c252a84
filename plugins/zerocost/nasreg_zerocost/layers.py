"""What the measures share: the layers that they are sums over, gradients that may be missing, and the output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nasreg.errors import TrainingError

Loss = Callable[[Tensor, Tensor], Tensor]
"""Mean loss of a batch, of logits ``(B, classes)`` and labels ``(B,)``."""

LayerScores = dict[str, Tensor]
"""Name of a layer -> its share of a score, a scalar."""


class ScoreError(TrainingError):
    """A network has no such score; the message says why."""


def weighted_layers(network: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    """Return the convolutions and linear layers of a network by name, each once, in the order of its modules.

    The sums of all measures are over these, as in the authors' program: BatchNorm and biases do not count.
    """
    return {name: each for name, each in network.named_modules() if isinstance(each, nn.Conv2d | nn.Linear)}


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights of these layers by the name of the layer, and let gradients flow to them."""
    weights = {name: layer.weight for name, layer in weighted_layers(network).items()}
    for weight in weights.values():
        weight.requires_grad_(True)  # pretrained parts of a network may be frozen
    return weights


def main_output(output: Any) -> Tensor:
    """Return the main output of a network: its output, or the first of several.

    Raises:
        ScoreError: It is no tensor.
    """
    main = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(main, Tensor):
        raise ScoreError(f"the network returns a {type(main).__name__}, not a tensor")
    return main


def gradients(value: Tensor, inputs: Sequence[Tensor], *, create_graph: bool = False) -> list[Tensor]:
    """Return the gradient of a scalar by each of some tensors; zeros for one that it does not depend on.

    Args:
        value: The scalar. A network without weights has one that depends on none.
        inputs: The tensors, none or more.
        create_graph: Whether the gradients can be differentiated.
    """
    if not inputs or not value.requires_grad:
        return [torch.zeros_like(each) for each in inputs]
    return list(
        torch.autograd.grad(value, inputs, create_graph=create_graph, allow_unused=True, materialize_grads=True)
    )


def by_layer(names: Sequence[str], scores: Sequence[Tensor]) -> LayerScores:
    """Return scores by the names of their layers."""
    return {name: score.detach().sum() for name, score in zip(names, scores, strict=True)}
