"""REINFORCE agrees with the trace of an independent program, and ``fidelity.py`` sees where it does not."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TRACE = HERE / "golden/nb201_reinforce_trace.json"


@pytest.fixture(scope="module")
def trace():
    pytest.importorskip("nasreg_nasbench201")
    return json.loads(TRACE.read_text())


@pytest.fixture
def fidelity(monkeypatch):
    monkeypatch.syspath_prepend(HERE.parents[2] / "benchmarks")
    return importlib.import_module("fidelity")


@pytest.mark.usefixtures("trace")
def test_every_figure_agrees(fidelity):
    checks = list(fidelity.checks(TRACE))
    assert len(checks) == 30 * 6
    assert [check for check in checks if not check.ok] == []


@pytest.mark.parametrize(
    "name", ["reward", "baseline_after_update", "log_prob_sum", "loss", "grad", "theta_after", "key"]
)
def test_a_figure_that_differs_fails(fidelity, trace, tmp_path, name):
    steps = [dict(step) for step in trace["traces"][0]["steps"]]
    value = steps[3][name]
    altered = value[::-1] if isinstance(value, str | list) else value * (1 + 1e-6)
    steps[3][name] = altered
    (tmp_path / "x.json").write_text(json.dumps({"traces": [{**trace["traces"][0], "steps": steps}]}))
    failed = {check.name for check in fidelity.checks(tmp_path / "x.json") if not check.ok}
    expected = "loss" if name == "reward" else name
    assert f"traces[0].steps[3].{expected}" in failed


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"uniforms": [[0.5] * 6]}, r"traces\[0\] has 1 rows of uniforms for 30 steps"),
        ({"theta0": [[0.0] * 5] * 5}, r"traces.0.theta0: List should have at least 6 items"),
        ({"uniforms": [[1.0] * 6] * 30}, r"traces.0.uniforms.0.0: Input should be less than 1"),
        ({"lr": "fast"}, "traces.0.lr"),
    ],
)
def test_a_malformed_file(fidelity, trace, tmp_path, changes, says):
    (tmp_path / "x.json").write_text(json.dumps({"traces": [{**trace["traces"][0], **changes}]}))
    with pytest.raises(fidelity.FileError, match=says):
        list(fidelity.checks(tmp_path / "x.json"))
