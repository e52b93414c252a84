"""Pareto fronts: which points are not dominated, ranks, and crowding. Imports no torch.

A point has a number for each objective, and less is better. One point dominates another if it is nowhere worse and
somewhere better. The sorting and the crowding distance are those of NSGA-II (Deb, Pratap, Agarwal, Meyarivan: A Fast
and Elitist Multiobjective Genetic Algorithm, IEEE Transactions on Evolutionary Computation 6(2), 2002).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

Point = Sequence[float]
"""A number for each objective, less is better."""

T = TypeVar("T")


def dominates(one: Point, other: Point) -> bool:
    """Return whether a point is nowhere worse than another and somewhere better."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def non_dominated_sort(points: Sequence[Point]) -> list[list[int]]:
    """Return the fronts: the points that no other dominates, then those that only points of earlier fronts dominate.

    Args:
        points: The points.

    Returns:
        Places in ``points``, in ascending order in each front.
    """
    fronts: list[list[int]] = []
    # In lexicographic order only an earlier point can dominate a later one, so that each goes into the first front
    # that has no point which dominates it.
    for place in sorted(range(len(points)), key=lambda place: tuple(points[place])):
        for front in fronts:
            if not any(dominates(points[other], points[place]) for other in reversed(front)):
                front.append(place)
                break
        else:
            fronts.append([place])
    return [sorted(front) for front in fronts]


def crowding_distances(points: Sequence[Point]) -> list[float]:
    """Return how far each point of a front is from its neighbours in it; infinite for the extreme ones.

    It is the sum over the objectives of the difference of the two neighbours, as a share of the range of the front.

    Args:
        points: The points of one front.
    """
    distances = [0.0] * len(points)
    for objective in range(len(points[0]) if points else 0):
        order = sorted(range(len(points)), key=lambda place: points[place][objective])  # used at once
        values = [points[place][objective] for place in order]
        distances[order[0]] = distances[order[-1]] = math.inf
        width = values[-1] - values[0]
        for rank in range(1, len(order) - 1) if width else ():
            distances[order[rank]] += (values[rank + 1] - values[rank - 1]) / width
    return distances


class Front(Generic[T]):
    """The points that no other dominates, of all that were added, each with an item."""

    def __init__(self) -> None:
        self._members: list[tuple[tuple[float, ...], T]] = []

    def add(self, point: Point, item: T) -> bool:
        """Add a point; return whether it is on the front. Points that are equal are all on it, or none."""
        new = tuple(point)
        if any(dominates(member, new) for member, _ in self._members):
            return False
        self._members = [(member, own) for member, own in self._members if not dominates(new, member)]
        self._members.append((new, item))
        return True

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[T]:
        """Yield the items, ordered by the first objective, the best first; of equals in the order of adding."""
        return (item for _, item in sorted(self._members, key=lambda member: member[0]))
