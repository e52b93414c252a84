"""DARTS- agrees with the authors' program, on every path of execution (see golden/README.md)."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GOLDEN = HERE / "golden" / "darts_minus_step.npz"


@pytest.fixture
def fidelity(monkeypatch):
    monkeypatch.syspath_prepend(HERE.parents[2] / "benchmarks")
    return importlib.import_module("fidelity")


@pytest.mark.slow
def test_every_figure_agrees_on_every_path(fidelity):
    checks = list(fidelity.checks(GOLDEN))
    assert [check for check in checks if not check.ok] == []
    names = {check.name for check in checks}
    for path in ("plain", "optimized", "fused"):
        assert {f"{path}: {name}" for name in ("logits0", "alphas_grad_normal1", "loss2", "genotype_reduce")} <= names
