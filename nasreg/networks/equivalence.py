"""Whether the frozen network of an architecture computes what the supernet computes on its path. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nasreg.nn import freeze, named_choices
from nasreg.specs import Architecture

MODES = ("evaluation", "training", "evaluation after training")
"""The passes that are compared, in their order: training changes, for example, the statistics of BatchNorm."""

RTOL, ATOL = 1e-4, 1e-5
"""Slices of an elastic layer may be added up in another order than whole tensors."""


def check_equivalence(supernet: nn.Module, architecture: Architecture, images: Tensor) -> None:
    """Compare the outputs of a supernet on the path of an architecture with those of the frozen network.

    Args:
        supernet: The model with choices; a training pass changes it, such as the statistics of its BatchNorm.
        architecture: The architecture.
        images: Images ``(B, C, H, W)``.

    Raises:
        AssertionError: An output differs; the message names the mode and the differences.
        ArchitectureError: The architecture belongs to another search space.
    """
    network = freeze(supernet, architecture)
    with decided(supernet, architecture):
        for mode in MODES:
            expected, found = (seeded_output(model, images, train=mode == "training") for model in (supernet, network))
            check_close(found, expected, mode)


@contextmanager
def decided(supernet: nn.Module, architecture: Architecture) -> Iterator[None]:
    """Let the choices of a supernet answer with the decisions of an architecture for the time of a block."""
    choices = named_choices(supernet)
    for key, _, choice, _ in choices:
        answer: Callable[[], Any] = partial(_same, architecture.decisions[key])
        choice.bind(answer)
    try:
        yield
    finally:
        for each in choices:
            each.choice.bind(None)


def seeded_output(model: nn.Module, images: Tensor, *, train: bool = False) -> Any:
    """Return the output of a model, which draws the same random numbers each time, such as those of dropout.

    Args:
        model: The model; its mode is changed.
        images: Images ``(B, C, H, W)``; they are left unchanged.
        train: Whether to compute in training mode.
    """
    devices = [images.device] if images.device.type != "cpu" else []
    with torch.random.fork_rng(devices, device_type=images.device.type if devices else "cuda"), torch.no_grad():
        torch.manual_seed(0)
        return model.train(train)(images.clone())


def check_close(found: Any, expected: Any, what: str) -> None:
    """Compare outputs up to rounding.

    Args:
        found: A tensor, or a sequence or mapping of tensors.
        expected: The same.
        what: What they are, for the message.

    Raises:
        AssertionError: They differ.
    """
    torch.testing.assert_close(found, expected, rtol=RTOL, atol=ATOL, msg=lambda text: f"{what}: {text}")


def _same(decision: Any) -> Any:
    return decision
