"""Short searches of each kind, made once for all tests of this folder: they take most of its time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nasreg
from evaluators import DESCENT, SCRIPTED, Digits
from nasreg import SearchResult
from nasreg.registry import Registry
from nasreg.testing import short_options, small_options, toy_images

Search = Callable[..., SearchResult]


def _search(out: Path, algorithm: str = "darts", space: str = "darts", **more: Any) -> SearchResult:
    arguments = {
        "trainer": short_options(algorithm),
        "space_options": small_options(space),
        "dataset_options": {"validation_fraction": 0.25},
        "seed": 1,
        "device": "cpu",
        "out": out,
    }
    return nasreg.search(space, toy_images(), algorithm, **{**arguments, **more})


@pytest.fixture(scope="session")
def search() -> Search:
    """Search a small space on a few images; takes the run directory and the arguments of ``nasreg.search``."""
    return _search


@pytest.fixture(scope="session")
def darts_result(tmp_path_factory) -> SearchResult:
    return _search(tmp_path_factory.mktemp("darts") / "run")


@pytest.fixture(scope="session")
def random_result(tmp_path_factory) -> SearchResult:
    more = {"trainer": {"max_trials": 3}, "evaluator_options": {"epochs": 2, "batch_size": 16}}
    return _search(tmp_path_factory.mktemp("random") / "run", "random", **more)


@pytest.fixture(scope="session")
def darts(darts_result) -> Path:
    return darts_result.run_dir


@pytest.fixture(scope="session")
def random(random_result) -> Path:
    return random_result.run_dir


@pytest.fixture(scope="session")
def registry() -> Registry:
    """A registry with what the installed plugins do not have: an evaluator that needs no data."""
    found = Registry()
    found.register(SCRIPTED, DESCENT)
    return found


@pytest.fixture(scope="session")
def scripted_result(tmp_path_factory, registry) -> SearchResult:
    """A search for the smallest sum of digits, without data, in which trials fail and are rejected."""
    trainer = {"max_trials": 8, "duplicates": "reject", "max_parameters": 40, "max_failures": 9}
    return nasreg.search(
        Digits, toy_images(), "random", trainer=trainer, evaluator="scripted", evaluator_options={"fail": [4, 6]},
        seed=1, device="cpu", registry=registry, out=tmp_path_factory.mktemp("scripted") / "run",
    )  # fmt: skip


@pytest.fixture(scope="session")
def scripted(scripted_result) -> Path:
    return scripted_result.run_dir


@pytest.fixture(scope="session")
def pdarts(tmp_path_factory) -> Path:
    trainer = {**short_options("pdarts"), "added_cells": [0, 1], "kept": [3], "dropout": [0.0, 0.1]}
    return _search(tmp_path_factory.mktemp("pdarts") / "run", "pdarts", trainer=trainer).run_dir


@pytest.fixture(scope="session")
def chain(tmp_path_factory) -> Path:
    return _search(tmp_path_factory.mktemp("chain") / "run", space="chain").run_dir
