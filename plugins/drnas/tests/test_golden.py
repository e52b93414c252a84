"""DrNAS agrees with the authors' program, and ``fidelity.py`` sees where it does not."""

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
    assert len(checks) > 250
    assert {check.name.partition(":")[0] for check in checks} == {"optimized", "plain"}
    assert [check for check in checks if not check.ok] == []


@pytest.mark.slow
def test_figures_that_differ_fail(fidelity, tmp_path):
    names = {"alpha_grad_kl", "weights_grad", "kl_reg", "prune/alpha_grad", "gradnorm1/stem.0.weight"}
    with np.load(GOLDEN[0]) as content:
        arrays = dict(content)
    for name in names:
        arrays[name] = arrays[name] * (1 + 1e-6)
    arrays["prune/mask"] = ~arrays["prune/mask"]
    np.savez(tmp_path / "altered.npz", **arrays)
    failed = [check.name.partition(": ")[2] for check in fidelity.checks(tmp_path / "altered.npz") if not check.ok]
    assert {name.partition("[")[0] for name in failed} == {*names, "prune/mask"}


@pytest.mark.parametrize(
    ("drop", "says"), [("w/stem.0.weight", "it lacks the array w/stem.0.weight"), ("k", "it lacks the array k")]
)
def test_a_file_that_lacks_something(fidelity, tmp_path, drop, says):
    with np.load(GOLDEN[0]) as content:
        np.savez(tmp_path / "less.npz", **{name: content[name] for name in content.files if name != drop})
    with pytest.raises(fidelity.FileError, match=says):
        list(fidelity.checks(tmp_path / "less.npz"))
