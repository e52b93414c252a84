"""Pareto fronts: sorting, crowding, and the front of points that come one by one."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasreg.specs import Front, crowding_distances, dominates, non_dominated_sort

points = st.integers(1, 4).flatmap(lambda n: st.lists(st.tuples(*[st.integers(0, 5)] * n), max_size=25))


def test_dominates():
    assert dominates((1, 2), (1, 3))
    assert not dominates((1, 3), (1, 2))
    assert not dominates((1, 2), (1, 2))
    assert not dominates((1, 3), (2, 2))


@given(points)
def test_each_front_is_what_is_not_dominated_without_the_ones_before(given_points):
    left = set(range(len(given_points)))
    for front in non_dominated_sort(given_points):
        best = {a for a in left if not any(dominates(given_points[b], given_points[a]) for b in left)}
        assert front == sorted(best)
        left -= best
    assert not left


@given(points)
def test_points_that_come_one_by_one_have_the_first_front(given_points):
    front: Front[int] = Front()
    for place, point in enumerate(given_points):
        front.add(point, place)
    assert sorted(front) == (non_dominated_sort(given_points) or [[]])[0]
    assert len(front) == len(list(front))
    assert [given_points[place][0] for place in front] == sorted(given_points[place][0] for place in front)


def test_a_point_says_whether_it_is_on_the_front():
    front: Front[str] = Front()
    assert front.add((2, 2), "a")
    assert front.add((2, 2), "equal")
    assert not front.add((2, 3), "worse")
    assert front.add((1, 1), "best")
    assert list(front) == ["best"]


def test_crowding_distances():
    # by hand: (4 - 0) / 10 + (9 - 1) / 10, (10 - 1) / 10 + (6 - 0) / 10
    assert crowding_distances([(0, 10), (1, 6), (4, 1), (10, 0)])[1:3] == pytest.approx([0.4 + 0.9, 0.9 + 0.6])
    assert crowding_distances([(0, 10), (1, 6), (10, 0)]) == [math.inf, 2.0, math.inf]
    assert crowding_distances([(3, 3)]) == [math.inf]
    assert crowding_distances([]) == []


def test_crowding_distances_of_equal_points_are_small():
    distances = crowding_distances([(0, 2), (1, 1), (1, 1), (1, 1), (2, 0)])
    assert distances[2] == 0
    assert distances[0] == distances[4] == math.inf


@given(points, st.integers(0, 100))
def test_the_order_of_points_does_not_matter(given_points, seed):
    shuffled = given_points.copy()
    random.Random(seed).shuffle(shuffled)

    def fronts(of):
        return [sorted(of[place] for place in front) for front in non_dominated_sort(of)]

    assert fronts(given_points) == fronts(shuffled)
