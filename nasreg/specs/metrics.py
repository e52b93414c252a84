"""Metrics as data: what a number measures, in which unit, and whether a higher one is better. Imports no torch.

A recorded metric is named ``{split}_{metric}``, such as ``validation_accuracy``. Progress displays, figures and pages
find out here how to print it, so that none of them assumes classification.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pydantic import Field

from nasreg.specs.base import Spec
from nasreg.specs.formatting import format_number, format_percent

SPLITS = ("train", "arch", "validation", "test")
"""The splits of a data set, in the order in which their metrics are shown. A one-shot algorithm learns its architecture
parameters on ``arch``."""

NOT_FINITE = "not finite"


class MetricSpec(Spec):
    """A metric: its name, how it is printed, and which direction is better."""

    name: str = Field(min_length=1, description="name in metrics.jsonl, without the split")
    title: str = Field(min_length=1, description="name for people")
    unit: str = Field(default="", description="'%' for a share between 0 and 1, '' for a plain number, or any unit")
    higher_is_better: bool = Field(default=True, description="whether a higher value is better")
    decimals: int | None = Field(
        default=None, ge=0, le=15, description="digits after the point, where they are not those that are usual"
    )

    def format(self, value: float | None) -> str:
        """Return a value as text, such as ``97.0%``, ``0.663``, ``-208600`` or ``1.25 ms``.

        Args:
            value: The value; JSON files have None for a number that was not finite.
        """
        if value is None or not math.isfinite(value):
            return NOT_FINITE
        if self.unit == "%":
            return format_percent(value, 1 if self.decimals is None else self.decimals)
        number = format_number(value) if self.decimals is None else f"{value:.{self.decimals}f}"
        return f"{number} {self.unit}".rstrip()

    def sort_key(self, value: float | None) -> tuple[bool, float]:
        """Return the key that sorts values, the best first; those that are not finite come last."""
        if value is None or not math.isfinite(value):
            return True, 0.0
        return False, -value if self.higher_is_better else value


class Fact(Spec):
    """A fact about the result of a search that its evaluator knows, such as its rank in a table."""

    name: str = Field(min_length=1, description="name in JSON")
    title: str = Field(min_length=1, description="name for people")
    value: int | float | str = Field(description="value in JSON")
    text: str = Field(min_length=1, description="value for people")

    @classmethod
    def of(cls, metric: MetricSpec, value: float) -> Fact:
        """Return the value of a metric as a fact."""
        return cls(name=metric.name, title=metric.title, value=value, text=metric.format(value))


LOSS = MetricSpec(name="loss", title="loss", higher_is_better=False)
ACCURACY = MetricSpec(name="accuracy", title="accuracy", unit="%")
TOP5 = MetricSpec(name="top5", title="top-5 accuracy", unit="%")

CLASSIFICATION_METRICS: tuple[MetricSpec, ...] = (LOSS, ACCURACY, TOP5)
"""The metrics of classification, the default task."""

TASK_METRICS: Mapping[str, tuple[MetricSpec, ...]] = {"classification": CLASSIFICATION_METRICS}
"""Name of a task -> its metrics, for displays, which import no torch."""


def task_metrics(task: str) -> tuple[MetricSpec, ...]:
    """Return the metrics of a task; none for an unknown task, whose metrics are printed as plain numbers."""
    return TASK_METRICS.get(task, ())


def split_name(name: str) -> tuple[str | None, str]:
    """Split the name of a recorded metric into the split and the metric: ``test_loss`` into ``test`` and ``loss``.

    Returns:
        The split, None where the name begins with none, and the name of the metric.
    """
    split, underscore, metric = name.partition("_")
    return (split, metric) if split in SPLITS and underscore and metric else (None, name)


def metric_spec(name: str, metrics: Sequence[MetricSpec] = CLASSIFICATION_METRICS) -> MetricSpec:
    """Return the spec of a metric by its name, with or without a split.

    Args:
        name: Such as ``accuracy`` or ``validation_accuracy``; the title then names the split, too.
        metrics: The known metrics.

    Returns:
        The known spec under this name; for an unknown name that of a plain number.
    """
    split, metric = split_name(name)
    known = next((spec for spec in metrics if spec.name == metric), None)
    title = metric.replace("_", " ") if known is None else known.title
    titled = title if split is None else f"{split} {title}"
    if known is None:
        return MetricSpec(name=name, title=titled)
    return known.model_copy(update={"name": name, "title": titled})
