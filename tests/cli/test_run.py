"""``nasreg run``, ``resume`` and ``show`` as a user has them: a process of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nasreg
from nasreg.cli import main
from nasreg.testing import differences
from words import check_refused

SMALL = [
    *("--set", "space.cells=2", "--set", "space.channels=2", "--set", "space.nodes=2"),
    *("--set", "space.candidates=[none, skip_connect, max_pool_3x3]"),
    *("--set", "dataset.limit=200", "--set", "trainer.epochs=3", "--device", "cpu"),
]


def command(*words: object) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "nasreg", *map(str, words)]


def run(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), capture_output=True, text=True, cwd=cwd, check=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, str]:
    """A run that ended, and what it printed."""
    folder = tmp_path_factory.mktemp("finished")
    done = run("run", "darts", *SMALL, "--out", folder / "run", "--tensorboard", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder / "run", done.stdout


def test_run_tells_what_happens_and_what_comes_next(finished):
    run_dir, printed = finished
    for text in ("peak memory", "epoch 3/3", "validation", "normal cell", "wrote run/architecture.json"):
        assert text in printed
    assert printed.rstrip().endswith("next: nasreg show run")
    assert "\x1b" not in printed
    status = json.loads((run_dir / "status.json").read_text())
    assert status["state"] == "done"
    assert list((run_dir / "tensorboard").glob("events.*"))
    environment = json.loads((run_dir / "environment.json").read_text())
    assert {"python", "torch", "nasreg", "nasreg-darts"} <= set(environment["versions"])


@pytest.mark.slow
def test_the_saved_spec_gives_the_same_run(finished, tmp_path):
    run_dir, _ = finished
    again = run("run", "darts", "--config", run_dir / "run.yaml", "--out", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    assert not differences(tmp_path / "again", run_dir)


def test_show(finished, tmp_path):
    run_dir, _ = finished
    for target in (run_dir, run_dir / "architecture.json"):
        shown = run("show", target, "-o", tmp_path / "cells.png")
        assert shown.returncode == 0, shown.stderr
        assert "Genotype(normal=[" in shown.stdout
        assert (tmp_path / "cells.png").read_bytes().startswith(b"\x89PNG")


def start(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(process: subprocess.Popen[str], condition, what: str) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, what


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_130_and_says_how_to_resume(tmp_path, number):
    out = tmp_path / "run"
    process = start("run", "darts", *SMALL, "--set", "trainer.epochs=500", "--out", out)
    wait_for(process, lambda: (out / "checkpoint.pt").exists(), "no checkpoint")
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"go on with: nasreg resume {out}" in stderr.splitlines()[-1]
    assert json.loads((out / "status.json").read_text())["state"] == "interrupted"


@pytest.mark.slow
def test_killed_in_the_middle_of_writing_and_resumed_is_the_same_run(finished, tmp_path):
    run_dir, _ = finished
    out = tmp_path / "run"
    words = ["run", "darts", *SMALL, "--set", "trainer.checkpoint_minutes=1e-9", "--out", out, "--tensorboard"]
    for attempt in range(3):
        process = start(*words) if attempt == 0 else start("resume", out)
        began = time.monotonic()

        def writing(began=began, wanted=attempt):
            parts = list(out.glob(".checkpoint.pt*.part"))
            far = len(list(out.glob("architectures/*"))) >= wanted
            return far and ((parts and (out / "checkpoint.pt").exists()) or time.monotonic() - began > 60)

        wait_for(process, writing, "nothing was written")
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    locked = start("resume", out)
    wait_for(locked, lambda: json.loads((out / "status.json").read_text())["resumed"] == 3, "not resumed")
    busy = run("resume", out)
    if locked.poll() is None:
        assert (busy.returncode, busy.stderr.count("\n")) == (2, 1)
        assert "is going on in another process" in busy.stderr
    _, stderr = locked.communicate()
    assert locked.returncode == 0, stderr
    assert not differences(out, run_dir)
    assert not list(out.rglob("*.part"))


BAD = [
    (["run", "dart"], 2, "Did you mean 'darts'"),
    (["run", "darts", "--set", "trainer.epoch=3"], 2, "Did you mean 'trainer.epochs'"),
    (["run", "darts", "--set", "trainer.epochs=many"], 2, "trainer.epochs: 'many'"),
    (["run", "darts", "--set", "epochs"], 2, "expected KEY=VALUE"),
    (["run", "darts", "--space", "dats"], 2, "Did you mean 'darts'"),
    (["run", "darts", "--space", "nowhere.to:find"], 2, "No module named 'nowhere'"),
    (["run", "darts", "--dataset", "digit"], 2, "Did you mean 'digits'"),
    (["run", "darts", "--dataset", "folder:/no/such/folder"], 2, "there is no folder /no/such/folder"),
    (["run", "darts", "--preset", "papr"], 2, "Did you mean 'paper'"),
    (["run", "darts", "--device", "cuda:99"], 2, "no device 'cuda:99'"),
    (["run", "darts", "--set", "space.reductions=4"], 2, "too small for 4 reduction cells"),
    (["run", "darts", "--config", "/no/such/file.yaml"], 2, "/no/such/file.yaml"),
    (["run", "darts", "--seed", "x"], 2, "'--seed'"),
    (["resume", "/no/such/run"], 2, "there is no run directory /no/such/run"),
    (["show", "/no/such/run"], 2, "there is no run directory"),
    (["shwo"], 2, "shwo"),
    ([], 2, ""),
]


@pytest.mark.parametrize(("words", "code", "says"), BAD)
def test_wrong_words_give_one_line_and_leave_nothing(tmp_path, monkeypatch, capsys, words, code, says):
    monkeypatch.chdir(tmp_path)
    assert main(words) == code
    captured = capsys.readouterr()
    if says:
        assert captured.err.startswith("nasreg: error: ")
        assert captured.err.count("\n") == 1
        assert says in captured.err
    assert list(tmp_path.iterdir()) == []


def test_the_traceback_is_shown_only_when_asked_for(tmp_path):
    for words, expected in (([], False), (["--debug"], True)):
        failed = run("resume", tmp_path / "none", *words)
        assert failed.returncode == 2
        assert ("Traceback" in failed.stderr) == expected


def test_out_must_be_free(finished, tmp_path, capsys):
    assert main(["run", "darts", "--out", str(finished[0])]) == 2
    assert f"or see what was found with: nasreg show {finished[0]}" in capsys.readouterr().err
    (tmp_path / "file").write_text("mine")
    assert main(["run", "darts", "--out", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main(["run", "darts", "--out", str(tmp_path / "file/inner")]) == 2
    assert "choose another directory" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(data=st.data())
def test_any_architecture_file_is_shown_or_refused_in_one_line(finished, tmp_path_factory, data):
    run_dir, _ = finished
    whole = json.loads((run_dir / "architecture.json").read_text())
    kind = data.draw(st.sampled_from(["bytes", "json", "changed"]))
    if kind == "bytes":
        raw = data.draw(st.binary(max_size=40))
    elif kind == "json":
        raw = json.dumps(data.draw(json_values)).encode()
    else:
        where = data.draw(st.sampled_from(["decisions", "fingerprint", "format", "normal", "reduce", "more"]))
        value = data.draw(json_values)
        if where in whole["decisions"] or where == "more":
            whole["decisions"][where] = value
        else:
            whole[where] = value
        raw = json.dumps(whole).encode()
    folder = tmp_path_factory.mktemp("fuzz")
    for name in ("run.yaml", "space.json"):
        (folder / name).write_bytes((run_dir / name).read_bytes())
    (folder / "architecture.json").write_bytes(raw)
    try:
        architecture = nasreg.Architecture.load(folder / "architecture.json")
        nasreg.SearchSpaceSpec.from_json((folder / "space.json").read_text()).validate(architecture)
        expected = 0
    except nasreg.NasregError as error:
        assert "\n" not in str(error).strip() or kind == "bytes"
        expected = 2
    assert main(["show", str(folder)]) == expected


def test_show_of_what_is_in_no_run(tmp_path, capsys):
    text = nasreg.get_genotype("DARTS_V1").genotype
    assert main(["show", "DARTS_V1", "-o", str(tmp_path / "cells.svg")]) == 0
    assert text in capsys.readouterr().out
    assert (tmp_path / "cells.svg").exists()
    assert main(["show", text]) == 0
    assert text in capsys.readouterr().out
    for words, told in (
        (["DARTS_V9"], "Did you mean"),
        (["x" * 5000], "no genotype"),
        ([str(tmp_path)], "no run.yaml"),
    ):
        check_refused(["show", *words], told, capsys)
