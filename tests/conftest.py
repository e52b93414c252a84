"""Runs that the tests share; see ``tiny_runs``."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny_runs


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tiny_runs.Finished:
    return tiny_runs.searched(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> tiny_runs.Finished:
    return tiny_runs.retrained(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def run_dir(searched: tiny_runs.Finished) -> Path:
    return searched.path
