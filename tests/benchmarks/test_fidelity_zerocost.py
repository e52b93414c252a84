"""``benchmarks/fidelity.py`` on zero-cost scores: those of the authors' programs, altered ones, and rubbish."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forked import Done

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "plugins/zerocost/tests/golden"
INDEX = 2


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[[Path], Done]:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")

    def run(path: Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["fidelity.py", str(path)])
        with pytest.raises(SystemExit) as ended:
            importlib.import_module("fidelity").main()
        return Done(ended.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def files(tmp_path) -> Callable[..., Path]:
    """Write the scores of one network, and its arrays, after a change."""

    def write(change: Callable[[dict[str, Any], dict[str, Any]], Any] = lambda item, arrays: None) -> Path:
        content = json.loads((GOLDEN / "zerocost.json").read_text())
        content["items"] = [item for item in content["items"] if item["index"] == INDEX]
        arrays = dict(np.load(GOLDEN / f"zerocost_{INDEX}.npz"))
        change(content["items"][0], arrays)
        path = tmp_path / "scores.json"
        path.write_text(json.dumps(content))
        np.savez(tmp_path / f"scores_{INDEX}.npz", **arrays)
        return path

    return write


def failed(done: Done) -> set[str]:
    return {line.split()[0] for line in done.out.splitlines()[:-1] if line.endswith("FAILED")}


def test_what_differs_is_named_and_nothing_else(files, run):
    def change(item: dict[str, Any], arrays: dict[str, Any]) -> None:
        for name in item["scores"]:
            item["scores"][name] *= 1 + 1e-6
        item["per_layer"]["snip"][1] *= 1 + 1e-6
        item["layers"][0] = "stem"
        arrays["naswot_K"][0, 1] += 1
        arrays["zen/after/lastact.0.running_var"][0] *= 1 + 1e-6

    done = run(files(change))
    assert (done.code, done.err) == (1, "")
    names = ["grad_norm", "snip", "grasp", "fisher", "synflow", "synflow_bn", "jacob_cov", "naswot_hook_logdet", "zen"]
    wrong = [*(f"scores.{name}" for name in (*names, "plain")), "per_layer.snip", "layers", "naswot_K"]
    assert failed(done) == {f"items[2].{name}" for name in (*wrong, "zen/after/lastact.0.running_var")}


def test_the_arrays_of_a_network_can_be_given_alone(run):
    done = run(GOLDEN / "zerocost_4.npz")
    assert (done.code, done.err) == (0, "")
    assert "naswot_K" in done.out
    assert "zen/after/lastact.0.running_mean" in done.out


def pop(name: str) -> Any:
    return lambda item, arrays: (arrays if name in arrays else item).pop(name)


def other(name: str, value: Any) -> Any:
    return lambda item, arrays: (arrays if isinstance(value, np.ndarray) else item).update({name: value})


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (pop("w/stem.0.weight"), "w/stem.0.weight"),
        (pop("w/cells.1.conv_a.op.2.running_var"), "w/cells.1.conv_a.op.2.running_var"),
        (pop("naswot_K"), "naswot_K"),
        (pop("zen/input2"), "zen/input2"),
        (pop("layers"), "items.0.layers"),
        (other("w/stem.0.weight", np.zeros((4, 3, 3))), "w/stem.0.weight has shape"),
        (other("w/more", np.zeros(1)), "w/more belongs to no parameter"),
        (other("N", np.array(2)), "w/cells"),
        (other("y", np.full(8, 10)), "y has labels"),
        (other("arch_ops", np.array([1, 1, 1, 1, 1, 0])), "arch_ops of scores_2.npz are not those of item 2"),
        (other("scores", {"snipp": 1.0}), "scores"),
        (other("index", 5), "No such file"),
        (lambda item, arrays: item["per_layer"].update(snip=[1.0]), "items.2.per_layer.snip: expected 8 numbers"),
    ],
)
def test_what_is_malformed_is_refused_and_named(change, word, files, run):
    done = run(files(change))
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert word in done.err, done.err


@pytest.mark.slow
def test_all_networks_agree(run, tmp_path):
    for path in GOLDEN.iterdir():
        shutil.copy(path, tmp_path / path.name)
    done = run(tmp_path / "zerocost.json")
    assert (done.code, done.err) == (0, ""), done.out
