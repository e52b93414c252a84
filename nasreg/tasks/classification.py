"""Classification: one class per sample, cross-entropy, top-1 and top-5 accuracy."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from nasreg.specs.metrics import ACCURACY, task_metrics
from nasreg.tasks.base import Statistics, Task

TOP = 5


class Classification(Task):
    """Predicts logits ``(B, classes)``; a target is the number of the class, int64 ``(B,)``."""

    name = "classification"
    metrics = task_metrics("classification")
    objective = ACCURACY

    def loss(self, prediction: Tensor, target: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean cross-entropy."""
        return F.cross_entropy(prediction, target, label_smoothing=label_smoothing)

    @torch.no_grad()
    def statistics(self, prediction: Tensor, target: Tensor, *, detailed: bool = False) -> Statistics:
        """Return the sums ``loss``, ``correct`` and ``count``; with ``detailed`` also ``correct5`` (top-5)."""
        found = {
            "loss": F.cross_entropy(prediction, target, reduction="sum"),
            "correct": (prediction.argmax(1) == target).sum(),
            "count": torch.tensor(len(target)),
        }
        if detailed and prediction.shape[1] > TOP:
            top = prediction.topk(TOP).indices
            found["correct5"] = (top == target[:, None]).any(1).sum()
        return found

    def compute(self, statistics: Mapping[str, float]) -> dict[str, float]:
        """Return ``loss`` and ``accuracy``, and ``top5`` where there are more than five classes."""
        count = statistics["count"]
        metrics = {"loss": statistics["loss"] / count, "accuracy": statistics["correct"] / count}
        if "correct5" in statistics:
            metrics["top5"] = statistics["correct5"] / count
        return metrics
