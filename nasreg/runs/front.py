"""The Pareto front of the trials of a search with several objectives. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from nasreg.specs.front import Front
from nasreg.specs.metrics import MetricSpec

T = TypeVar("T")


class TrialFront(Generic[T]):
    """The trials that no other one dominates, of those with the highest fidelity.

    Args:
        objective: The metric of the score.
        objectives: What is optimised beside it.
    """

    def __init__(self, objective: MetricSpec, objectives: Sequence[MetricSpec]) -> None:
        self._objective = objective
        self._objectives = objectives
        self._fidelity = 0.0
        self._front: Front[T] = Front()

    def values(self, score: float | None, metrics: Mapping[str, float | None]) -> tuple[float, ...] | None:
        """Return the score and the values of the other objectives; None where one is missing or not finite."""
        found = [score, *(metrics.get(metric.name) for metric in self._objectives)]
        known = tuple(value for value in found if value is not None and math.isfinite(value))
        return known if len(known) == len(found) else None

    def add(self, score: float | None, metrics: Mapping[str, float | None], fidelity: float, item: T) -> None:
        """Add a trial; one without a score, or without one of the other values, is on no front."""
        values = self.values(score, metrics)
        if values is None or fidelity < self._fidelity:
            return
        if fidelity > self._fidelity:
            self._fidelity, self._front = fidelity, Front()
        specs = (self._objective, *self._objectives)
        self._front.add([spec.sort_key(value)[1] for spec, value in zip(specs, values, strict=True)], item)

    def __iter__(self) -> Iterator[T]:
        """Yield the items on the front, the best score first."""
        return iter(self._front)


def pareto_front(
    records: Iterable[Mapping[str, Any]], objective: MetricSpec, objectives: Sequence[MetricSpec]
) -> list[dict[str, Any]]:
    """Return the records of the trials on the front, the best score first; none in a search with one objective."""
    if not objectives:
        return []
    front: TrialFront[Mapping[str, Any]] = TrialFront(objective, objectives)
    for record in records:
        front.add(record.get("score"), record.get("metrics", {}), record.get("fidelity", 1.0), record)
    return without_repetitions(front)


def without_repetitions(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return records, of those with the same architecture the first."""
    first: dict[str, dict[str, Any]] = {}
    for record in records:
        first.setdefault(str(record.get("architecture")), dict(record))
    return list(first.values())
