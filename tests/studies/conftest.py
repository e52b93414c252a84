"""A study that the tests of this folder share: two algorithms on sums of digits, which take moments."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

import nasreg
from evaluators import DESCENT, SCRIPTED
from nasreg.registry import Registry
from nasreg.studies.result import StudyResult

SEEDS, TRIALS = 4, 6


@pytest.fixture(scope="session", autouse=True)
def _statistics() -> None:
    """Import, in the process that runs these tests, what forked commands are to have already: it takes seconds."""
    importlib.import_module("scikit_posthocs")


@pytest.fixture(scope="session")
def registry() -> Registry:
    found = Registry()
    found.register(SCRIPTED, DESCENT)
    return found


@pytest.fixture(scope="session")
def sums(registry):
    """Return what compares searches of digits with a small sum."""

    def compare(algorithms: Any, out: Path, **more: Any) -> StudyResult:
        given = {"space": "evaluators:Digits", "evaluator": "scripted", "seeds": SEEDS, "budget": TRIALS, **more}
        return nasreg.compare(algorithms, registry=registry, out=out, **given)

    return compare


@pytest.fixture
def without_page(monkeypatch):
    """Write an empty page, which takes longer than the runs of most of these studies."""
    monkeypatch.setattr("nasreg.studies.page.html.render_study", lambda result, directory: "")


@pytest.fixture(scope="session")
def study(sums, tmp_path_factory) -> StudyResult:
    return sums(["descent"], tmp_path_factory.mktemp("study") / "sums")
