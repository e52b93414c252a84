"""The context of a trainer whose steps a benchmark drives itself, with batches of its own."""

from __future__ import annotations

from typing import Any

import torch

from nasreg.nn import extract_space
from nasreg.specs import RunSpec, Selection
from nasreg.tasks import Classification
from nasreg.trainers import OneShotContext


def search_context(
    algorithm: str, build: Any, make_mutator: Any, device: torch.device, *, depth: int | None = None
) -> OneShotContext:
    """Return a context without a data set, for ``train_step`` and the methods that it calls.

    Args:
        algorithm: Name of the algorithm.
        build: Builds the supernet; see ``nasreg.trainers.context.BuildSupernet``.
        make_mutator: Makes the mutator for a space.
        device: Where.
        depth: Value of the capability ``depth``.
    """
    given = Selection(name="given")
    return OneShotContext(
        spec=RunSpec(algorithm=algorithm, space=given, dataset=given, mutator={}, trainer={}),
        space=extract_space(build()),
        data=None,  # type: ignore[arg-type]  # the batches are given
        task=Classification(),
        device=device,
        build_supernet=build,
        make_mutator=make_mutator,
        capabilities={"depth": depth},
    )
