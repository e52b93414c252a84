"""How good a model is on images: loss, and how often the right class is the first, or among the first five."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    from nasreg.data import Part

TOP = 5


@dataclass(frozen=True)
class Scores:
    """Figures over all images of a part."""

    loss: float
    """Mean cross-entropy."""
    accuracy: float
    """Share of images whose class has the highest logit (top-1)."""
    top5: float
    """Share of images whose class is among the five highest logits; 1 where there are no more than five classes."""
    images: int


@torch.no_grad()
def score(
    model: nn.Module, part: Part, batch_size: int, context: Callable[[], AbstractContextManager[Any]] = nullcontext
) -> Scores:
    """Measure a model in eval mode; it is in train mode afterwards if it was before.

    Args:
        model: ``(B, C, H, W)`` images to logits ``(B, classes)``, or to a tuple that begins with them.
        part: The images.
        batch_size: Images in a batch.
        context: Makes the context of each forward pass, such as that of mixed precision.
    """
    training = model.training
    model.eval()
    loss, right, among, seen = 0.0, 0, 0, 0
    for x, y in part.batches(batch_size=batch_size, epoch=0, train=False):
        with context():
            output = model(x)
        logits = (output[0] if isinstance(output, tuple) else output).float()
        loss += float(F.cross_entropy(logits, y, reduction="sum"))
        right += int((logits.argmax(1) == y).sum())
        among += int((logits.topk(min(TOP, logits.shape[1])).indices == y[:, None]).any(1).sum())
        seen += len(y)
    model.train(training)
    return Scores(loss / seen, right / seen, among / seen, seen)
