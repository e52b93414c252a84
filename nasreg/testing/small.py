"""The smallest real search there is, for any algorithm, evaluator and space: few images, narrow layers, few epochs."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import TensorDataset

import nasreg

SHORT = {"epochs": 2, "batch_size": 16, "max_trials": 3}
SHORT_PARTS = {"warmup_epochs": 1, "partial_channels": 2}
SHORT_TRIAL = {"epochs": 2, "batch_size": 16}
SMALL = {"cells": 3, "stages": 2, "blocks": 2, "layers": 3, "channels": 2, "nodes": 2}


def short_options(algorithm: str) -> dict[str, Any]:
    """Return options of an algorithm's trainer that make its search short and fit a small space.

    They are those of ``epochs`` (two), ``max_trials`` (three) and ``batch_size`` that it has, and ``warmup_epochs``
    (one) and ``partial_channels`` (two) where it has more by default. An algorithm that gives trials a part of the
    full effort may need more trials: it has those of its default preset.

    Args:
        algorithm: Its name.
    """
    found = nasreg.describe(algorithm, "algorithm")["algorithm"]
    options = found["trainer"]["options"]
    defaults = {option["name"]: option["default"] for option in options}
    parts = {name: value for name, value in SHORT_PARTS.items() if (defaults.get(name) or 0) > value}
    short = {**_known(SHORT, options), **parts}
    return {name: value for name, value in short.items() if name != "max_trials"} if found["fidelity"] else short


def short_evaluator_options(evaluator: str) -> dict[str, Any]:
    """Return options that make the evaluation of a trial short.

    They are those of ``epochs`` (two) and ``batch_size`` that an evaluator has that needs data; the results in a table
    are of another number of epochs.

    Args:
        evaluator: Name of the evaluator.
    """
    found = nasreg.describe(evaluator, "evaluator")["evaluator"]
    return _known(SHORT_TRIAL, found["options"]) if "data" in found["needs"] else {}


def small_options(space: str) -> dict[str, Any]:
    """Return options that make a space small: those of ``SMALL`` that it has.

    Args:
        space: Its name.
    """
    return _known(SMALL, nasreg.describe(space, "space")["space"]["options"])


def _known(wanted: dict[str, int], options: list[dict[str, Any]]) -> dict[str, Any]:
    names = {option["name"] for option in options}
    return {name: value for name, value in wanted.items() if name in names}


def toy_images(n: int = 96, side: int = 8, seed: int = 0) -> TensorDataset:
    """Return a data set that anything can learn: dark and bright images ``(1, side, side)`` of two classes.

    Args:
        n: Number of images.
        side: Height and width, in pixels.
        seed: Seed of the noise in them.
    """
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 2
    x = torch.rand(n, 1, side, side, generator=generator)
    x[y == 1] += 2
    return TensorDataset(x, y)
