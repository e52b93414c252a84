"""The base class of tasks. Trainers, progress and reports ask it for the loss and the metrics; none knows a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

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

    def outputs(self, output: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the main output of a network and its auxiliary ones, in single precision or better.

        Args:
            output: What the network returned: a tensor, or a tuple or list that begins with the main output.
        """
        main, *auxiliary = output if isinstance(output, tuple | list) else (output,)
        return _widened(main), tuple(_widened(each) for each in auxiliary)


def _widened(output: Tensor) -> Tensor:
    return output.float() if output.dtype in (torch.bfloat16, torch.float16) else output
