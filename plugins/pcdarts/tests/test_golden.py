"""PC-DARTS agrees with the authors' program, and ``fidelity.py`` sees where it does not (see golden/README.md)."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
GOLDEN = HERE / "golden" / "pcdarts_step.npz"


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
        assert {f"{path}: {name}" for name in ("logits", "grad/betas_normal", "logits_eval")} <= names


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"op_names": None}, "it lacks the array op_names"),
        ({"layers": np.array(2)}, "2 cells are too few for 2 reduction cells"),
        pytest.param(
            {"w/stem.0.weight": np.zeros((12, 3, 5, 5))},
            r"w/stem\.0\.weight has shape \(12, 3, 5, 5\)",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"w/extra": np.zeros(1)}, "w/extra belongs to no weight of such a network", marks=pytest.mark.slow
        ),
    ],
)
def test_a_malformed_file(fidelity, tmp_path, changes, says):
    arrays = {**np.load(GOLDEN), **changes}
    np.savez(tmp_path / "file.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(fidelity.FileError, match=says):
        list(fidelity.checks(tmp_path / "file.npz"))
