"""The base class of tasks. Trainers, progress and reports ask it for the loss and the metrics; none knows a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from nasreg.errors import SpaceError
from nasreg.specs.data import DataInfo
from nasreg.specs.metrics import MetricSpec

Statistics = dict[str, Tensor]
"""Sums over the samples of a batch, each a scalar, that metrics are computed from; those of several batches add up."""


class Task(ABC):
    """A task: what a network predicts, its loss and its metrics.

    Attributes:
        name: Name of the task, as a RunSpec records it.
        metrics: All metrics that ``compute`` may return, in the order in which they are shown.
        objective: The metric that architectures and epochs are compared by.
    """

    name: ClassVar[str]
    metrics: ClassVar[tuple[MetricSpec, ...]]
    objective: ClassVar[MetricSpec]

    @abstractmethod
    def loss(self, prediction: Tensor, target: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean loss of a batch, a scalar that can be differentiated."""

    @abstractmethod
    def statistics(self, prediction: Tensor, target: Tensor, *, detailed: bool = False) -> Statistics:
        """Return the statistics of a batch: ``count``, the sum ``loss``, and what else the metrics need.

        Args:
            prediction: The main output of the network, detached or not.
            target: The targets of the batch.
            detailed: Also those of metrics that are only computed when a trained network is measured.
        """

    @abstractmethod
    def compute(self, statistics: Mapping[str, float]) -> dict[str, float]:
        """Return the metrics by name, among them ``loss``, of the summed statistics of any number of batches."""

    def problem(self, prediction: Tensor, samples: int, info: DataInfo) -> str | None:
        """Return why a prediction does not fit the task, as the end of a sentence about the network, or None.

        Args:
            prediction: The main output of the network.
            samples: Number of samples in the batch.
            info: Shape of the images and the classes.
        """
        del prediction, samples, info
        return None

    def outputs(self, output: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the main output of a network and its auxiliary ones, in single precision or better.

        Args:
            output: What the network returned: a tensor; a tuple or list that begins with the main output; or a mapping
                or object that has it under the name ``logits``. Of a tuple or list the other tensors of the same shape
                are auxiliary outputs, and anything else in it, such as features, is left out.

        Raises:
            SpaceError: It is none of these.
        """
        found = _named_logits(output)
        main, *others = found if isinstance(found, tuple | list) and found else (found,)
        if not isinstance(main, Tensor):
            raise SpaceError(
                f"the model returns {_described(output)}: expected a tensor, a tuple that begins with one, or a mapping"
                " or object with 'logits'"
            )
        auxiliary = [each for each in others if isinstance(each, Tensor) and each.shape == main.shape]
        return _widened(main), tuple(_widened(each) for each in auxiliary)


_LOGITS = "logits"


def _named_logits(output: Any) -> Any:
    if isinstance(output, Mapping):
        return output.get(_LOGITS)
    return output if isinstance(output, Tensor | tuple | list) else getattr(output, _LOGITS, output)


def _described(output: Any) -> str:
    if isinstance(output, Mapping):
        return f"a {type(output).__name__} with {', '.join(map(repr, output)) or 'nothing in it'}"
    if isinstance(output, tuple | list):
        return f"a {type(output).__name__} that begins with a {type(output[0]).__name__}" if output else "nothing"
    return f"a {type(output).__name__}"


def _widened(output: Tensor) -> Tensor:
    return output.float() if output.dtype in (torch.bfloat16, torch.float16) else output
