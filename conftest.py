"""Of all tests: they share the cores, and property tests fail for what they find and never for the time it took."""

from __future__ import annotations

import os
from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, settings

# Tests run in as many processes as there are cores. Torch's threads of several processes would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

SLOW_OF_THE_KIT = ("test_the_seed_decides_everything", "test_interrupted_and_resumed_it_is_the_same_run")
"""Tests of ``nasreg.testing`` that train more than once. It is the users' kit, too, so it has no marks of ours."""


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Mark those."""
    for item in items:
        if isinstance(item, pytest.Function) and item.cls is not None and item.originalname in SLOW_OF_THE_KIT:
            item.add_marker(pytest.mark.slow)
