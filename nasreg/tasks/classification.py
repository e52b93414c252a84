"""Classification: one class per sample, cross-entropy, top-1 and top-5 accuracy."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from nasreg.specs.data import DataInfo
from nasreg.specs.metrics import ACCURACY, task_metrics
from nasreg.tasks.base import Statistics, Task

TOP = 5


class Classification(Task):
    """Predicts logits ``(B, classes)``; a target is the number of the class, int64 ``(B,)``."""

    name = "classification"
    metrics = task_metrics("classification")
    objective = ACCURACY

    def problem(self, prediction: Tensor, samples: int, info: DataInfo) -> str | None:
        """Return why a prediction is not ``(samples, classes)`` logits, or None."""
        n_classes, shape = info.n_classes, tuple(prediction.shape)
        if shape != (samples, n_classes):
            flat = shape == (samples, n_classes, *(1,) * (len(shape) - 2))
            remedy = (
                "flatten it with flatten(1)"
                if flat
                else (
                    f"give its last layer {n_classes} outputs (a class or function with a parameter named 'info' finds"
                    " the number in info.n_classes)"
                )
            )
            return (
                f"returns logits of shape {shape} for a batch of {samples}, but the {n_classes} classes of the data"
                f" need {(samples, n_classes)}: {remedy}"
            )
        if not prediction.is_floating_point():
            return f"returns {str(prediction.dtype).removeprefix('torch.')}: expected floating-point logits"
        return None

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
