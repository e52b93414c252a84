"""``benchmarks/fidelity.py`` on network morphism: the figures of Auto-Keras' program, altered ones, and rubbish."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forked import Done

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "plugins/morphism/tests/golden/morphism.json"


@pytest.fixture
def run(monkeypatch, capsys, tmp_path) -> Callable[[Callable[[Any], Any]], Done]:
    """Compare with the file after a change."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")

    def run(change: Callable[[Any], Any] = lambda content: None) -> Done:
        content = json.loads(GOLDEN.read_text())
        change(content)
        path = tmp_path / "morphism.json"
        path.write_text(json.dumps(content))
        monkeypatch.setattr(sys, "argv", ["fidelity.py", str(path)])
        with pytest.raises(SystemExit) as ended:
            importlib.import_module("fidelity").main()
        return Done(ended.value.code, *capsys.readouterr())

    return run


def test_all_quantities_agree_and_what_differs_is_named(run):
    done = run()
    assert done.code == 0
    assert done.out.endswith("all 252 quantities agree\n")

    def change(content: Any) -> None:
        content["pairs"][3]["skip_distance"] += 1e-9
        content["gp"][2]["after_first_fit"]["mean"][1] += 1e-6
        content["gp"][2]["incremental_refused_by_LinAlgError"] = True

    done = run(change)
    failed = {line.split(" error ")[0].strip() for line in done.out.splitlines()[:-1] if line.endswith("FAILED")}
    assert done.code == 1
    assert failed == {
        "pairs[3].skip_distance",
        "gp[2].after_first_fit.mean",
        "gp[2].incremental_refused: smallest eigenvalue",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["pairs"][0].update(a=999), "pairs.0 names network 999, but there are 41"),
        (lambda content: content["descriptors"][0]["layers"][2].pop("stride"), "layers.2 of type Conv2d lacks a size"),
        (lambda content: content["gp"][0]["y"].pop(), "gp[0] has 8 networks and 3 scores"),
        (lambda content: content["pairs"][0].update(b="x"), "pairs.0.b"),
    ],
)
def test_malformed_files(run, change, message):
    done = run(change)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1
