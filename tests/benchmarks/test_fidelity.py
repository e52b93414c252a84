"""``benchmarks/fidelity.py``: on files of the authors' programs, of other sizes, altered ones, and rubbish."""

from __future__ import annotations

import copy
import importlib
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import forked
import textbook
from forked import Done
from nasreg_darts.config import DartsTrainerConfig

ROOT = Path(__file__).parents[2]
GOLDEN = {
    path.name: path
    for folder in ("tests/networks", "plugins/darts/tests", "plugins/pdarts/tests")
    for path in (ROOT / folder / "golden").iterdir()
    if path.suffix in (".npz", ".json")
}
EXECUTION = DartsTrainerConfig.model_fields.get("execution")
PATHS = get_args(EXECUTION.annotation) if EXECUTION else ("default",)


SCRIPT = ROOT / "benchmarks" / "fidelity.py"


def run(path: Path) -> Done:
    """Run the script in a process of its own."""
    return forked.script(SCRIPT, path)


@pytest.fixture
def run_here(monkeypatch, capsys) -> Callable[[Path], Done]:
    """Run it in this process, which has torch already."""
    monkeypatch.syspath_prepend(SCRIPT.parent)

    def run(path: Path) -> Done:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(path)])
        with pytest.raises(SystemExit) as ended:
            importlib.import_module("fidelity").main()
        return Done(ended.value.code, *capsys.readouterr())

    return run


def verdicts(output: str) -> dict[str, str]:
    """Return the verdict on each quantity; the last line sums them up."""
    lines = [line.partition(" error ") for line in output.splitlines()[:-1]]
    found = {name.strip(): rest.split()[-1] for name, _, rest in lines}
    assert len(found) == len(lines)
    return found


def wanted(content: dict[str, Any]) -> set[str]:
    """Return the quantities that a file has."""
    if "alpha_normal" in content:
        names = {name for name in content if not name.startswith(("weight/", "momentum/", "train_", "valid_"))}
        names -= {"alpha_normal", "alpha_reduce", "genotype"}
        names |= {"train_logits", "train_loss", "valid_loss"}
        names |= {f"genotype.{key}{part}" for key in ("normal", "reduce") for part in ("", "_concat")}
        return {f"{path}: {name}" for path in PATHS for name in names}
    if "x" in content:
        return {name for name in content if not name.startswith("weight/")} - {"x", "y"}
    if "cases" not in content:
        return {f"{case}: {name}" for case, counts in content.items() for name in counts}
    names = set()
    for number, case in enumerate(content["cases"]):
        cells = [f"stages[{n}].kept_{key}" for n in range(len(case["stages"])) for key in textbook.KEYS]
        limits = [f"genotype_by_max_skips[{most}]" for most in case["genotype_by_max_skips"]]
        cells += [f"{name}.{key}" for name in ("genotype_unrestricted", *limits) for key in textbook.KEYS]
        cells += ["skips_unrestricted"] * ("skips_unrestricted" in case)
        names |= {f"cases[{number}].{name}" for name in cells}
    return names


def write(path: Path, content: dict[str, Any]) -> Path:
    if "train_loss" in content:
        path = path.with_suffix(".bin")  # a name says nothing
        with path.open("wb") as file:
            np.savez(file, **content)
    else:
        path.write_text(json.dumps(content))
    return path


def load(path: Path) -> dict[str, Any]:
    return dict(np.load(path)) if path.suffix == ".npz" else json.loads(path.read_text())


def check_agrees(done: Done, content: dict[str, Any]) -> None:
    code, printed, told = done
    assert code == 0, printed + told
    assert told == ""
    found = verdicts(printed)
    assert set(found) == wanted(content)
    assert set(found.values()) == {"ok"}


@pytest.mark.slow
@pytest.mark.parametrize("name", GOLDEN)
def test_nasreg_agrees_with_the_authors(name, tmp_path):
    content = load(GOLDEN[name])
    if name == "eval_networks.json":  # tests/networks counts all of them
        content = dict(list(content.items())[:1])
    check_agrees(run(write(tmp_path / name, content)), content)


def test_all_forms_are_here():
    assert set(GOLDEN) == {"darts_step.npz", "eval_network.npz", "pdarts_shrink.json", "eval_networks.json"}


OTHER = {
    "retrain step": lambda: textbook.retrain_step(
        c=2, cells=5, classes=4, sides=(36, 36), batch=3, auxiliary=True, seed=1
    ),
    "retrain step without a head": lambda: textbook.retrain_step(
        c=4, cells=3, classes=7, sides=(20, 12), batch=2, auxiliary=False, seed=2
    ),
    "two stages": lambda: textbook.dropping(cases=3, kept=(4,), limits=(0, 1, 5), seed=1),
    "four stages": lambda: textbook.dropping(cases=2, kept=(6, 4, 2), limits=(2,), seed=2),
    "counts": lambda: {"DARTS_V2 cifar100 C4 L5 aux": textbook.counts(c=4, cells=5, classes=100, side=32)},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHER)
def test_files_of_any_size(name, tmp_path, run_here):
    content = OTHER[name]()
    check_agrees(run_here(write(tmp_path / "file", content)), content)


@pytest.fixture(scope="module")
def small() -> dict[str, Any]:
    return {
        "search": textbook.search_step(c=2, cells=3, classes=3, side=8, batch=4, seed=5),
        "retrain": textbook.retrain_step(c=2, cells=3, classes=3, sides=(8, 8), batch=4, auxiliary=False, seed=5),
        "dropping": textbook.dropping(cases=2, kept=(5, 3), limits=(0, 2), seed=5),
        "counts": {"DARTS_V2 cifar10 C2 L3 aux": textbook.counts(c=2, cells=3, classes=10, side=32)},
    }


def one_number(name: str) -> Any:
    """Change the median number of an array by a millionth (a tenth where the tolerance is a thousandth)."""

    def change(content: dict[str, Any]) -> None:
        flat = np.array(content[name]).reshape(-1)
        flat[np.argsort(abs(flat))[len(flat) // 2]] *= 1.1 if "_fd_" in name else 1 + 1e-6
        content[name] = flat.reshape(content[name].shape)

    return change


def genotype_edge(content: dict[str, Any]) -> None:
    genotype = json.loads(str(content["genotype"]))
    genotype["reduce"][:2] = genotype["reduce"][1::-1]
    content["genotype"] = np.array(json.dumps(genotype))


def kept_candidate(content: dict[str, Any]) -> None:
    stage = content["cases"][1]["stages"][0]
    dropped = next(n for n in stage["candidates_reduce"][3] if n not in stage["kept_reduce"][3])
    stage["kept_reduce"][3][0] = dropped


def last_kept(content: dict[str, Any]) -> None:
    content["cases"][0]["stages"][2]["kept_normal"][13] = ["none"]


def derived_edge(content: dict[str, Any]) -> None:
    cell = content["cases"][1]["genotype_by_max_skips"]["2"]["normal"]
    cell[:2] = cell[1::-1]


def counted(name: str) -> Any:
    def change(content: dict[str, Any]) -> None:
        content["DARTS_V2 cifar10 C2 L3 aux"][name] += 1

    return change


def altered(*changes: Any) -> Any:
    def change(content: dict[str, Any]) -> None:
        for each in changes:
            each(content)

    return change


NUMBERS = ["train_logits", "valid_loss", "first_order_normal", "second_order_exact_reduce", "second_order_fd_normal"]
NUMBERS += ["unrolled_valid_loss", "alpha_after_adam_normal", "grad_norm_before_clip", "train_loss"]
NUMBERS += ["weight_after_sum/classifier.bias", "weight_after_norm/cells.1._ops.3._ops.4.op.6.weight"]
WRONG = [
    pytest.param(
        "search",
        altered(genotype_edge, *map(one_number, NUMBERS)),
        {"genotype.reduce", *NUMBERS},
        marks=pytest.mark.slow,
    ),
    (
        "retrain",
        altered(one_number("eval_logits_after_one_forward"), one_number("grad_norm/stem.0.weight")),
        {"eval_logits_after_one_forward", "grad_norm/stem.0.weight"},
    ),
    ("dropping", kept_candidate, {"cases[1].stages[0].kept_reduce"}),
    ("dropping", last_kept, {"cases[0].stages[2].kept_normal"}),
    ("dropping", derived_edge, {"cases[1].genotype_by_max_skips[2].normal"}),
    ("counts", counted("macs"), {"DARTS_V2 cifar10 C2 L3 aux: macs"}),
]


@pytest.mark.parametrize(("name", "change", "quantities"), WRONG)
def test_what_differs_is_named_and_nothing_else(name, change, quantities, small, tmp_path, run_here):
    content = copy.deepcopy(small[name])
    change(content)
    code, printed, told = run_here(write(tmp_path / "file", content))
    assert (code, told) == (1, "")
    failed = {quantity for quantity, verdict in verdicts(printed).items() if verdict == "FAILED"}
    assert failed == ({f"{path}: {each}" for path in PATHS for each in quantities} if name == "search" else quantities)
    assert printed.splitlines()[-1] == f"{len(failed)} of {len(wanted(content))} quantities FAILED"


class Trap:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def check_refused(done: Done, *words: str) -> None:
    code, printed, told = done
    assert (code, printed) == (2, ""), told
    assert len(told.splitlines()) == 1, told
    assert all(word in told for word in words), told


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "cannot be read"),
        (b"not a file of figures", "cannot be read"),
        (b"PK\x03\x04 a zip that ends too soon", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"[1, 2]", "neither"),
        (b"{}", "neither"),
        (b'"text"', "neither"),
        (b'{"a": {"b": 1}}', "neither"),
        (b'{"cases": []}', "cases"),
        (b'{"cases": [{"stages": []}]}', "cases.0.stages"),
        (b'{"DARTS_V2 svhn C4 L3 aux": {"params_total": 1, "params_without_aux": 1, "macs": 1}}', "svhn"),
        (b'{"DARTS_V9 cifar10 C4 L3 aux": {"params_total": 1, "params_without_aux": 1, "macs": 1}}', "DARTS_V9"),
        (b'{"DARTS_V2 cifar10 C4 L3 aux": {"params_total": 1, "macs": 1}}', "params_without_aux"),
        (b'{"DARTS_V2 cifar10 C4 L3 aux": {"params_total": "1", "params_without_aux": 1, "macs": 1}}', "params_total"),
    ],
)
def test_rubbish_is_refused_in_one_line(content, word, tmp_path, run_here):
    path = tmp_path / "file.npz"
    path.write_bytes(content)
    check_refused(run_here(path), word, str(path))


def test_what_is_no_file_is_refused(tmp_path):
    check_refused(run(tmp_path / "nothing.npz"), "No such file")
    check_refused(run(tmp_path), str(tmp_path))


def test_nothing_is_unpickled(tmp_path, small):
    trap = tmp_path / "sprung"
    arrays = {**small["search"], "train_x": np.array([Trap(trap)], dtype=object)}
    pickled = pickle.dumps(Trap(trap))
    check_refused(run(write(tmp_path / "arrays", arrays)), "pickle")
    (tmp_path / "pickle.npz").write_bytes(pickled)
    check_refused(run(tmp_path / "pickle.npz"))
    assert not trap.exists()
    pickle.loads(pickled)
    assert trap.exists()  # it would have sprung


def without(name: str) -> Any:
    return lambda content: content.pop(name)


def replaced(name: str, make: Any) -> Any:
    def change(content: dict[str, Any]) -> None:
        content[name] = np.array(make(content[name]))

    return change


MALFORMED = [
    ("search", without("alpha_normal"), "alpha_normal"),
    ("search", without("weight/stem.0.weight"), "weight/stem.0.weight"),
    ("search", without("momentum/cells.1._ops.0._ops.3.conv_1.weight"), "momentum/cells.1._ops.0._ops.3.conv_1.weight"),
    ("search", replaced("train_x", lambda x: x[:, :, 0]), "train_x"),
    ("search", replaced("valid_y", lambda y: y + 90), "valid_y"),
    ("search", replaced("train_logits", lambda logits: logits * np.nan), "train_logits"),
    ("search", replaced("genotype", lambda text: f"{text}]"), "genotype"),
    ("search", lambda content: content.update({"weight/extra": content["train_loss"]}), "weight/extra"),
    ("search", replaced("alpha_normal", lambda alpha: alpha[:13]), "alpha_normal"),
    ("retrain", without("weight/cells.1.preprocess1.op.1.weight"), "weight/cells.1.preprocess1.op.1.weight"),
    ("retrain", replaced("y", lambda y: y + 0.5), "y has type"),
    ("retrain", replaced("weight/classifier.weight", lambda weight: weight[:, 1:]), "weight/classifier.weight"),
    ("dropping", lambda content: content["cases"][1]["stages"][2].pop("kept_reduce"), "cases.1.stages.2.kept_reduce"),
    ("dropping", lambda content: content["cases"][1]["stages"][2]["alpha_normal"].pop(), "cases[1].stages[2]"),
]


@pytest.mark.parametrize(("name", "change", "word"), MALFORMED)
def test_what_lacks_something_is_refused_and_what_it_lacks_is_named(name, change, word, small, tmp_path, run_here):
    content = copy.deepcopy(small[name])
    change(content)
    check_refused(run_here(write(tmp_path / "file", content)), word)


def test_arrays_of_something_else_are_refused(tmp_path):
    path = tmp_path / "file.npz"
    np.savez(path, a=np.zeros(3))
    check_refused(run(path), "no array of it")
