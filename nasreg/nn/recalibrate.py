"""Renews the running statistics of BatchNorm, which in a supernet are those of the mixture of all candidates.

A network that takes its weights from a supernet computes with statistics of other activations than its own, and is far
worse than its weights are (Guo et al., arXiv 1904.00420, section 3.4, recompute them for each architecture).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from nasreg.errors import UsageError


def frozen_norms(model: nn.Module) -> set[nn.Module]:
    """Return each normalisation of a model whose statistics are frozen.

    Frozen is a layer with parameters of which none requires a gradient; one without parameters is where all parameters
    of the module around it are frozen.
    """
    found: set[nn.Module] = set()
    for module in model.modules():
        for layer in (module, *module.children()):
            if isinstance(layer, _NormBase):
                own = next(layer.parameters(), None) is not None
                if _is_frozen(layer if own else module):
                    found.add(layer)
    return found


def _is_frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)


def running_norms(model: nn.Module) -> list[_BatchNorm]:
    """Return each BatchNorm of a model whose running statistics can be renewed."""
    frozen = frozen_norms(model)
    return [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None and module not in frozen
    ]


@contextmanager
def batch_statistics(norms: Sequence[_BatchNorm]) -> Iterator[None]:
    """Let BatchNorm normalise by the statistics of the batch inside of this context, also in evaluation mode.

    The running statistics, which in a supernet are those of many architectures, are neither used nor changed.

    Args:
        norms: The layers, such as ``running_norms(model)``; each normalises two values a channel or more.
    """
    running = [(norm.running_mean, norm.running_var) for norm in norms]
    try:
        for norm in norms:
            norm.running_mean = norm.running_var = None
        yield
    finally:
        for norm, (mean, variance) in zip(norms, running, strict=True):
            norm.running_mean, norm.running_var = mean, variance


@torch.no_grad()
def recalibrate_batch_norm(model: nn.Module, inputs: Iterable[Tensor]) -> None:
    """Renew the running statistics of BatchNorm: they become the mean over some batches.

    Everything else of the model stays as it is: weights, modes, and the statistics of a BatchNorm whose parameters are
    frozen. Dropout and the like are off.

    Args:
        model: The model; it is changed.
        inputs: Batches that the model takes, of two samples or more, such as those of the train split.

    Raises:
        UsageError: There is no batch.
    """
    norms = running_norms(model)
    batches = iter(inputs)
    first = next(batches, None)
    if first is None:
        raise UsageError("BatchNorm is recalibrated with batches of inputs, and there is none")
    modes = {module: module.training for module in model.modules()}
    momenta = [norm.momentum for norm in norms]
    model.eval()
    try:
        for norm in norms:
            norm.train()
            norm.reset_running_stats()
            norm.momentum = None  # of torch's BatchNorm: a mean over all batches
        model(first)
        for batch in batches:
            model(batch)
    finally:
        for module, training in modes.items():
            module.training = training
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
