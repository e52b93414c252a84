"""GDAS and SNAS agree with authors' programs, and ``fidelity.py`` sees where they do not."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
GOLDEN = sorted((HERE / "golden").glob("*.npz"))
BENCHMARKS = HERE.parents[2] / "benchmarks"


@pytest.fixture
def fidelity(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("fidelity")


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_figures_agree(fidelity, path):
    checks = list(fidelity.checks(path))
    assert len(checks) > 200
    assert {check.name.partition(":")[0] for check in checks} == {"optimized", "plain"}
    assert [check for check in checks if not check.ok] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "names"),
    [
        (
            "gdas_step.npz",
            ["alpha_grad", "gradnorm1/stem.0.weight", "step/alphas_after", "step/after_norm/stem.0.weight"],
        ),
        ("snas_step.npz", ["weights", "logits"]),
    ],
)
def test_figures_that_differ_fail(fidelity, tmp_path, file, names):
    with np.load(HERE / "golden" / file) as content:
        arrays = dict(content)
    for name in names:
        arrays[name] = arrays[name] * (1 + 1e-6)
    np.savez(tmp_path / "altered.npz", **arrays)
    failed = {
        check.name.partition(": ")[2].partition("[")[0]
        for check in fidelity.checks(tmp_path / "altered.npz")
        if not check.ok
    }
    assert failed == set(names)


@pytest.mark.parametrize(
    ("file", "drop"), [("gdas_step.npz", "w/stem.0.weight"), ("gdas_step.npz", "hardwts"), ("snas_step.npz", "weights")]
)
def test_a_file_that_lacks_something(fidelity, tmp_path, file, drop):
    with np.load(HERE / "golden" / file) as content:
        np.savez(tmp_path / "less.npz", **{name: content[name] for name in content.files if name != drop})
    with pytest.raises(fidelity.FileError, match=f"it lacks the array {drop}"):
        list(fidelity.checks(tmp_path / "less.npz"))
