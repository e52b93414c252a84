"""What a benchmark gives a trainer whose steps it drives itself, with batches of its own."""

from __future__ import annotations

from typing import Any

import torch

from nasreg.nn import extract_space
from nasreg.specs import RunSpec, Selection
from nasreg.trainers import SearchTask


def search_task(algorithm: str, build: Any, mutator: Any, device: torch.device) -> SearchTask:
    """Return a task that has no data set, for ``train_step`` and what it calls.

    Args:
        algorithm: Its name.
        build: Builds the supernet; see ``nasreg.trainers.task.Build``.
        mutator: Makes the mutator for a space.
        device: Where.
    """
    given = Selection(name="given")
    return SearchTask(
        spec=RunSpec(algorithm=algorithm, space=given, dataset=given, mutator={}, trainer={}),
        space=extract_space(build()),
        build=build,
        mutator=mutator,
        data=None,  # type: ignore[arg-type]  # the batches are given
        device=device,
    )
