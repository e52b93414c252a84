"""The context of a trainer: the resolved spec, the space, the data, the task, the device, and how to build models."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import nn

from nasreg.executors.base import TrialExecutor
from nasreg.specs.architecture import Architecture
from nasreg.specs.metrics import MetricSpec
from nasreg.specs.retrain import RetrainSpec
from nasreg.specs.run import RunSpec
from nasreg.specs.space import SearchSpaceSpec
from nasreg.tasks.base import Task

if TYPE_CHECKING:
    from nasreg.data import RunData

EdgeCandidates = Mapping[str, Sequence[Sequence[str]]]
"""Key of a cell -> names of the operations possible on each of its edges."""


class BuildSupernet(Protocol):
    """Builds the model with its choices."""

    def __call__(self, **capabilities: Any) -> nn.Module:
        """Build it.

        Args:
            **capabilities: Capability of the space that the algorithm requires -> value of its option, in place of the
                run's own, such as ``depth=11``.
        """


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """The context of every trainer."""

    spec: RunSpec | RetrainSpec
    space: SearchSpaceSpec
    task: Task
    device: torch.device


@dataclass(frozen=True, kw_only=True)
class DataContext(RunContext):
    """The context of a trainer that trains a model on data."""

    data: RunData


@dataclass(frozen=True, kw_only=True)
class OneShotContext(DataContext):
    """The context of the trainer of a one-shot search."""

    spec: RunSpec
    build_supernet: BuildSupernet
    make_mutator: Callable[[SearchSpaceSpec], Any]
    """Makes the algorithm's mutator for a space."""
    capabilities: Mapping[str, Any]
    """Capability of the space -> value of its option in this run."""
    diagnostics: Callable[[Architecture], Mapping[str, float]] = lambda architecture: {}
    """Returns what the space says of an architecture after each epoch; see ``SpaceEntry.diagnostics``."""


@dataclass(frozen=True, kw_only=True)
class MultiTrialContext(RunContext):
    """The context of the trainer of a multi-trial search."""

    spec: RunSpec
    make_mutator: Callable[[SearchSpaceSpec], Any]
    """Makes the algorithm's mutator for a space."""
    executor: TrialExecutor
    """Evaluates proposals."""
    objective: MetricSpec
    """The metric that the evaluator scores by."""
    metrics: tuple[MetricSpec, ...]
    """What else the evaluator measures."""
    measure_costs: Callable[[Architecture, Collection[str]], Mapping[str, float]]
    """Measures costs of an architecture's network, given by name (``nasreg.specs.trial.COSTS``)."""
    extreme_costs: Callable[[Literal["smallest", "largest"], Collection[str]], Mapping[str, float]]
    """Measures the same of the smallest or largest architecture."""
    initial: tuple[Architecture, ...] = ()
    """Architectures to evaluate before those that the mutator proposes."""
    accept: Callable[[Architecture], Any] | None = None
    """Returns whether to evaluate an architecture; any if None."""
    uses_data: bool = True
    """Whether a data set was loaded."""
    trial_epochs: int | None = None
    """Epochs of a trial; see ``Evaluator.trial_epochs``."""
    prepare: Callable[[], None] = lambda: None
    """Prepares, before the first proposal, what the trials share; see ``Evaluator.prepare``."""


@dataclass(frozen=True, kw_only=True)
class RetrainContext(DataContext):
    """The context of a retraining."""

    spec: RetrainSpec
    build_network: Callable[[], nn.Module]
    """Builds the network, with its auxiliary head if there is to be one."""
    save_network: Callable[[str, nn.Module, Mapping[str, float]], None] | None
    """Saves the weights of a network and its metrics in a file of the run; None without a run directory."""
