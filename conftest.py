"""Settings of all tests: one thread per process, their own cache, untimed property tests, no page of searches."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Tests run in as many processes as there are cores. Torch's threads of several processes would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# pytest --hypothesis-profile=thorough tries more examples.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=30)
settings.register_profile("thorough", settings.get_profile("untimed"), max_examples=200)
settings.load_profile("untimed")

SLOW_OF_THE_KIT = (
    "test_looking_it_up_imports_no_torch",
    "test_the_seed_decides_everything",
    "test_interrupted_and_resumed_it_is_the_same_run",
    "test_it_runs_on_every_space_that_it_claims",
    "test_it_copes_with_failed_and_rejected_trials",
    "test_it_scores_every_space_that_it_claims",
    "test_a_frozen_network_computes_what_the_supernet_computes",
    "test_parameters_change",
    "test_worker_processes_give_the_same_scores",
    "test_killed_anywhere_and_resumed_it_is_the_same_search",
    "test_a_network_can_be_copied_and_its_state_saved",
)
"""Tests of ``nasreg.testing`` that search, compute many networks, or start a process: there are many of each."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark these as slow, and let them draw nothing; order files with slow tests first, to keep cores busy."""
    for item in items:
        if isinstance(item, pytest.Function) and item.cls is not None and item.originalname in SLOW_OF_THE_KIT:
            item.add_marker(pytest.mark.slow)
            item.fixturenames.insert(0, "without_drawings")
    items.sort(key=lambda item: "slow" not in item.keywords)


def pytest_collection_finish() -> None:
    """Keep the garbage collector away from what is imported and collected: it would look through all of it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep converted files in one cache for the tests of the process, and out of that of the user; wait for no disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NASREG_CACHE", str(tmp_path_factory.getbasetemp() / "nasreg-cache"))
        patch.setattr(os, "fsync", lambda number: None)  # nothing is kept that a power failure could harm
        yield


@pytest.fixture(scope="session", autouse=True)
def _short_measurements() -> Iterator[None]:
    """Measure latencies in a few rounds, and no longer: no test is about their precision."""
    from nasreg.networks import costs, profile

    measure = profile.measure_latency

    def measure_shortly(call: Any, size: int, device: Any, rounds: int, seconds: float) -> Any:
        del seconds
        return measure(call, size, device, min(rounds, 3), 0.0)

    with pytest.MonkeyPatch.context() as patch:
        for module in (profile, costs):
            patch.setattr(module, "measure_latency", measure_shortly)
        yield


@pytest.fixture(scope="module")
def without_report() -> Iterator[None]:
    """Let runs write no page, which takes longer than a small search itself; ``tests/report`` is about the page."""
    from nasreg.engine import execute

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "write_report", lambda path, metrics: None)
        yield


@pytest.fixture(scope="module")
def without_drawings(without_report: None) -> Iterator[None]:
    """Let searches draw no cells either: a drawing depends on nothing but what else is written."""
    from nasreg.engine import search_job

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_job, "draw", lambda trainer, directory, drawing: None)
        yield
