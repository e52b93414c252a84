"""The base class of evaluators, which give each proposal of a multi-trial search a score."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nasreg.events import Event
from nasreg.runs.directory import RunDirectory
from nasreg.specs.architecture import Architecture
from nasreg.specs.base import Config
from nasreg.specs.data import DataInfo
from nasreg.specs.metrics import Fact, MetricSpec
from nasreg.specs.run import RunSpec
from nasreg.specs.space import SearchSpaceSpec
from nasreg.specs.trial import Proposal, Score, Trial
from nasreg.tasks.base import Task

if TYPE_CHECKING:
    from nasreg.data import RunData


@dataclass(frozen=True, kw_only=True)
class EvaluatorContext:
    """What an evaluator knows of its search."""

    spec: RunSpec
    space: SearchSpaceSpec
    task: Task
    device: torch.device
    info: DataInfo
    """Shape of the images and the classes; those of CIFAR-10 for an evaluator that needs no data."""
    data: RunData | None
    """The images; None for an evaluator that does not need them."""
    build_network: Callable[[Architecture], nn.Module]
    """Builds the network of an architecture, on the CPU, with new weights drawn from torch's generator."""
    build_supernet: Callable[[Mapping[str, Any] | None], nn.Module]
    """Builds the model with its choices, on the CPU, with options of the space or, where None, those of the search."""
    directory: RunDirectory | None
    """The run directory of the search, if it has one."""
    emit: Callable[[Event], None]
    """Sends an event to the callbacks of the search, also from its worker processes; not from a foreign executor."""


class Evaluator(ABC):
    """Gives each proposal a score.

    With several workers there is one evaluator in each process. The score of a proposal depends on the proposal and the
    seed alone, not on the trials before it: torch's generators are seeded for each trial.

    Args:
        context: The search.
        config: Options.
    """

    def __init__(self, context: EvaluatorContext, config: Config) -> None:
        self.context = context
        self.config = config

    @property
    @abstractmethod
    def objective(self) -> MetricSpec:
        """The metric that proposals are compared by: its name, unit and direction."""

    @property
    def metrics(self) -> Sequence[MetricSpec]:
        """What is measured beside the objective and may be in ``Score.metrics``; a name without one is a number."""
        return ()

    @property
    def trial_epochs(self) -> int | None:
        """Epochs of the training that a score is the result of, for people: by default those of its options."""
        epochs = getattr(self.config, "epochs", None)
        return epochs if isinstance(epochs, int) else None

    def prepare(self) -> None:  # noqa: B027  # nothing to do is a good default
        """Prepare what the trials of all processes share, such as a supernet in the run directory.

        Called once in the process of the search, before the first proposal and before ``setup``; also when it is
        resumed.

        Raises:
            InterruptedRunError: The search is interrupted, and this is called again when it is resumed.
            TrainingError: It failed, and so does the search.
        """

    def setup(self) -> None:  # noqa: B027  # nothing to do is a good default
        """Prepare what takes long, such as reading a table. Called once in each process, before the first proposal."""

    def check(self, architecture: Architecture) -> None:  # noqa: B027  # any by default
        """Check, before the search begins, that an architecture which the user wants evaluated can be.

        Raises:
            ArchitectureError: It cannot.
        """

    @abstractmethod
    def evaluate(self, proposal: Proposal) -> Score:
        """Return the score of a proposal, made with ``self.score``.

        Raises:
            Exception: Anything: the trial has failed, and the search continues.
            InterruptedRunError: The search is interrupted, and the trial is evaluated when it is resumed.
        """

    def facts(self, best: Trial, evaluations: int) -> Sequence[Fact]:
        """Return what the evaluator knows of the result of a search, such as its rank in a table; nothing by default.

        Called in the process of the search, also where the trials were evaluated in others.

        Args:
            best: The best trial, which has a score.
            evaluations: Number of trials with a score.
        """
        del best, evaluations
        return ()

    def seed(self, proposal: Proposal) -> int:
        """Return the seed of a proposal's evaluation, which depends on the seed of the search and the proposal's id."""
        return random.Random(f"{self.context.spec.seed}/trial/{proposal.id}").getrandbits(32)

    def score(self, value: float, **metrics: float) -> Score:
        """Return a score.

        Args:
            value: The objective.
            **metrics: Other measurements, by name.
        """
        return Score(float(value), metrics, self.higher_is_better)

    @property
    def higher_is_better(self) -> bool:
        """The direction of the objective."""
        return self.objective.higher_is_better

    def close(self) -> None:  # noqa: B027  # nothing to do is a good default
        """Free what the evaluator holds. Called once, at the end."""
