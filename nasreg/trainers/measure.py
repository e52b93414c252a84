"""Metrics of a model on one split of the data."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nasreg.tasks.base import Task
from nasreg.trainers.distributed import ONLY, Processes

if TYPE_CHECKING:
    from nasreg.data import DataSplit


@torch.no_grad()
def measure(
    model: nn.Module,
    split: DataSplit,
    task: Task,
    batch_size: int,
    context: Callable[[], AbstractContextManager[Any]] = nullcontext,
    *,
    detailed: bool = False,
    processes: Processes = ONLY,
) -> dict[str, float]:
    """Return the metrics of a model, in eval mode, on every sample of a split; its mode is restored afterwards.

    Args:
        model: Takes inputs ``(B, C, H, W)``.
        split: The samples.
        task: Computes the metrics.
        batch_size: Samples in a batch.
        context: Makes the context of each forward pass, such as that of mixed precision.
        detailed: Whether to compute all metrics of the task, or only those of a training step.
        processes: Those that measure together, each on some of the batches.
    """
    training = model.training
    model.eval()
    sums: dict[str, float] = {}
    for x, y in split.batches(batch_size=batch_size, epoch=0, train=False, place=processes.place):
        with context():
            output = model(x)
        prediction, _ = task.outputs(output)
        for name, value in task.statistics(prediction, y, detailed=detailed).items():
            sums[name] = sums.get(name, 0.0) + float(value)
    model.train(training)
    return task.compute(processes.total_of_all(sums))
