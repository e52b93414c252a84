"""``nasreg run``, ``resume``, ``show`` and ``retrain``: what a user sees of them, and processes that are stopped."""

from __future__ import annotations

import json
import shutil
import signal
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import forked
import nasreg
from nasreg.cli import main
from nasreg.runs import files
from nasreg.testing import differences
from tiny_runs import SEARCH
from words import check_refused


def wait_for(process: forked.Process, condition, what: str) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.wait()
        assert time.monotonic() < deadline, what
        time.sleep(0.001)


# -- what is printed -----------------------------------------------------------------------------------------------


def test_the_first_lines_say_what_is_run(searched):
    lines = searched.out.splitlines()
    assert lines[0] == (
        "preset demo, the default for data set digits; others: --preset, see nasreg describe darts;"
        " all options: --dry-run"
    )
    assert lines[1] == "darts: space darts, data set digits, preset demo, device cpu"
    assert lines[2].startswith("supernet of ")
    assert lines[2].endswith(", 3 epochs of 3 steps")
    assert lines[3] == f"run directory {searched.path}"


def test_a_run_writes_tensorboard_files_on_request(searched):
    assert list((searched.path / files.TENSORBOARD).glob("events.out.tfevents.*"))


def test_a_preset_that_the_user_names_is_not_said_to_be_the_data_sets(tmp_path, capsys):
    argv = [
        "run",
        "random",
        "--preset",
        "demo",
        "--space",
        "chain",
        "--set",
        "space.blocks=1",
        "--set",
        "trainer.max_trials=1",
    ]
    argv += ["--set", "dataset.limit=60", "--set", "evaluator.epochs=1", "--device", "cpu"]
    assert main([*argv, "--out", str(tmp_path / "my run")]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("random: space chain, data set digits, preset demo, evaluator training, device cpu\n")
    assert err == f"next: nasreg retrain '{tmp_path / 'my run'}'\n"


def test_a_run_says_what_happens_and_what_comes_next(searched):
    for text in ("peak memory", "epoch 3/3 (supernet): train loss", "normal cell", "wrote run/architecture.json"):
        assert text in searched.out
    assert searched.err == "next: nasreg retrain run\n"
    assert "\x1b" not in searched.out
    assert json.loads((searched.path / "status.json").read_text())["state"] == "done"
    environment = json.loads((searched.path / "environment.json").read_text())
    assert {"python", "torch", "nasreg", "nasreg-darts"} <= set(environment["versions"])


def test_a_retraining_names_its_recipe(retrained):
    first, second = retrained.err.splitlines()[:2]
    assert first.startswith("retrain ")
    assert first.endswith(": space darts, data set digits, recipe demo, device cpu")
    assert second.startswith("network of ")


@pytest.mark.parametrize(
    ("argv", "kind", "named"),
    [
        (["run", "darts", "--set", "trainer.epochs=7", "--preset", "paper"], "search", {"preset": "paper"}),
        (["retrain", "DARTS_V2", "--set", "trainer.epochs=7"], "retrain", {"recipe": "demo", "source": "DARTS_V2"}),
    ],
)
def test_a_dry_run_prints_the_whole_spec_and_runs_nothing(tmp_path, monkeypatch, capsys, argv, kind, named):
    monkeypatch.chdir(tmp_path)
    assert main([*argv, "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    spec = (nasreg.RunSpec if kind == "search" else nasreg.RetrainSpec).from_yaml(out)
    assert spec.to_yaml() == out
    assert (spec.kind, spec.trainer["epochs"]) == (kind, 7)
    assert named.items() <= yaml.safe_load(out).items()
    assert main([*argv, "--dry-run", "-q"]) == 0
    assert capsys.readouterr().out == out
    assert main([*argv, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == spec.model_dump(mode="json")
    assert list(tmp_path.iterdir()) == []


def test_one_seed_has_no_deviation(tmp_path, capsys):
    argv = ["retrain", "DARTS_V2", "--set", "space.cells=3", "--set", "space.channels=4", "--set", "dataset.limit=40"]
    argv += ["--set", "trainer.epochs=1", "--set", "trainer.auxiliary_weight=0", "--device", "cpu"]
    assert main([*argv, "--seeds", "0", "--out", str(tmp_path / "runs")]) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()[-3:]]
    assert lines[0] == ["test", "accuracy", "after", "the", "last", "epoch"]
    assert lines[1][:2] == ["seed", "0"]
    assert lines[1][2].endswith("%")
    assert "±" not in out
    assert json.loads((tmp_path / "runs/summary.json").read_text())["std"] is None


# -- the same run again --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_saved_spec_gives_the_same_run(searched, tmp_path):
    assert main(["run", "darts", "--config", str(searched.path / "run.yaml"), "--out", str(tmp_path / "again")]) == 0
    assert not differences(tmp_path / "again", searched.path)


def test_out_must_be_free(searched, tmp_path, capsys):
    check_refused(["run", "darts", "--out", str(searched.path)], f"see its result: nasreg show {searched.path}", capsys)
    (tmp_path / "file").write_text("mine")
    check_refused(["run", "darts", "--out", str(tmp_path)], "is not empty", capsys)
    check_refused(["run", "darts", "--out", str(tmp_path / "file/inner")], "choose another directory", capsys)
    assert (tmp_path / "file").read_text() == "mine"


def test_an_empty_present_directory_may_be_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").touch()
    check_refused(["run", "darts", "--out", "."], f"run directory {tmp_path} is not empty", capsys)


def test_a_finished_run_is_not_resumed(searched, capsys):
    check_refused(["resume", str(searched.path)], "has finished: its result is", capsys)


def test_the_traceback_is_shown_only_when_asked_for(tmp_path, capsys):
    for more, expected in (([], False), (["--debug"], True)):
        assert main(["resume", str(tmp_path / "none"), *more]) == 2
        assert ("Traceback" in capsys.readouterr().err) == expected


# -- stopped processes ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_130_and_says_how_to_resume(tmp_path, number):
    out = tmp_path / "my run"
    process = forked.start("run", "darts", *SEARCH[:-6], "--set", "trainer.epochs=500", "--device", "cpu", "--out", out)
    wait_for(process, lambda: (out / "checkpoint.pt").exists(), "no checkpoint")
    process.send(number)
    code, _, stderr = process.wait()
    assert code == 130
    assert stderr.splitlines()[-1].endswith(f"resume with: nasreg resume '{out}'")
    assert json.loads((out / "status.json").read_text())["state"] == "interrupted"


@pytest.mark.slow
def test_killed_in_the_middle_of_writing_and_resumed_is_the_same_run(searched, tmp_path, capsys):
    out = tmp_path / "run"
    argv = ["run", "darts", *SEARCH, "--set", "trainer.checkpoint_minutes=1e-9", "--out", out]
    for attempt in range(3):
        process = forked.start(*argv) if attempt == 0 else forked.start("resume", out)
        began = time.monotonic()

        def writing(began=began, wanted=attempt):
            parts = list(out.glob(".checkpoint.pt*.part"))
            far = len(list(out.glob("architectures/*"))) >= wanted
            return far and ((parts and (out / "checkpoint.pt").exists()) or time.monotonic() - began > 60)

        wait_for(process, writing, "nothing was written")
        process.send(signal.SIGKILL)
        assert process.wait().code == -signal.SIGKILL
    locked = forked.start("resume", out)
    wait_for(locked, lambda: json.loads((out / "status.json").read_text())["resumed"] == 3, "not resumed")
    locked.send(signal.SIGSTOP)
    check_refused(["resume", str(out)], f"run {out} is in use by another process", capsys)
    locked.send(signal.SIGCONT)
    forked.check(locked.wait())
    assert not differences(out, searched.path)
    assert not list(out.rglob("*.part"))


# -- show ----------------------------------------------------------------------------------------------------------


def test_show_prints_an_architecture_and_draws_it(searched, tmp_path, capsys):
    for source in (searched.path, searched.path / "architecture.json"):
        assert main(["show", str(source), "-o", str(tmp_path / "cells.png")]) == 0
        shown = capsys.readouterr().out
        assert "Genotype(normal=[" in shown
        assert f"wrote {tmp_path / 'cells.png'}\n" in shown
        assert (f"wrote {searched.path / 'index.html'}\n" in shown) == (source == searched.path)
        assert (tmp_path / "cells.png").read_bytes().startswith(b"\x89PNG")
    for source in (searched.path, searched.path / "architecture.json"):
        check_refused(
            ["show", str(source), "--space", "nosuch:Net"], "--space is for an architecture in no run", capsys
        )


def test_show_of_a_run_that_has_not_ended_writes_its_report(searched, tmp_path, capsys):
    run = shutil.copytree(searched.path, tmp_path / "run")
    (run / "architecture.json").unlink()
    assert main(["show", str(run)]) == 2
    out, err = capsys.readouterr()
    assert out == f"wrote {run / 'index.html'}\n"
    assert err == f"nasreg: error: {run} has no architecture yet: nasreg resume {run}\n"


def test_show_of_what_is_in_no_run(tmp_path, capsys):
    text = nasreg.get_genotype("DARTS_V1").genotype
    assert main(["show", "DARTS_V1", "-o", str(tmp_path / "cells.svg")]) == 0
    assert text in capsys.readouterr().out
    assert (tmp_path / "cells.svg").exists()
    assert main(["show", text]) == 0
    assert text in capsys.readouterr().out


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(data=st.data())
def test_any_architecture_file_is_shown_or_refused_in_one_line(searched, tmp_path_factory, data):
    whole = json.loads((searched.path / "architecture.json").read_text())
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
        (folder / name).write_bytes((searched.path / name).read_bytes())
    (folder / "architecture.json").write_bytes(raw)
    try:
        architecture = nasreg.Architecture.load(folder / "architecture.json")
        nasreg.SearchSpaceSpec.from_json((folder / "space.json").read_text()).validate(architecture)
        expected = 0
    except nasreg.NasregError as error:
        assert "\n" not in str(error).strip() or kind == "bytes"
        expected = 2
    assert main(["show", str(folder / "architecture.json")]) == expected
