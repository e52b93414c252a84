"""The one object that prints: its modes, and that nothing else prints."""

from __future__ import annotations

import ast
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nasreg.cli
from nasreg.cli import main
from nasreg.cli.output import Output
from nasreg.events import Notice, StageStarted

SOURCES = sorted(Path(nasreg.cli.__file__).parent.glob("*.py"))
SMALL = ("--set", "space.cells=3", "--set", "space.channels=4")
RANDOM = (
    *("run", "random", "--space", "chain", "--set", "space.blocks=1", "--set", "space.channels=2", "--device", "cpu"),
    *("--set", "trainer.max_trials=1", "--set", "evaluator.epochs=1", "--set", "dataset.limit=60"),
)


# -- sources -------------------------------------------------------------------------------------------------------


def printing(path: Path) -> list[str]:
    """Return what a file calls or names that prints."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        name = ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""
        if name in (
            "print",
            "typer.echo",
            "typer.secho",
            "sys.stdout",
            "sys.stderr",
            "sys.__stdout__",
            "sys.__stderr__",
        ):
            found.append(f"{path.name}:{node.lineno} {name}")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_only_output_prints(path):
    assert bool(printing(path)) == (path.name == "output.py")


# -- modes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "expected"),
    [({}, "text\n"), ({"quiet": True}, "a\nb\n"), ({"as_json": True}, '{\n  "value": 1\n}\n')],
    ids=["text", "quiet", "json"],
)
def test_a_result_has_a_form_for_each_mode(capsys, mode, expected):
    output = Output(**mode)
    output.result(lambda: {"value": 1}, lambda: output.line("text"), ["a", Path("b")])
    assert capsys.readouterr() == (expected, "")


def test_json_wins_over_quiet(capsys):
    Output(as_json=True, quiet=True).result(lambda: [1], lambda: None, ["a"])
    assert json.loads(capsys.readouterr().out) == [1]


def test_numbers_that_are_not_finite_are_null_in_json(capsys):
    data = {"loss": float("nan"), "scores": (float("inf"), 1.5), "name": "ü"}
    Output(as_json=True).result(lambda: data, lambda: None)
    printed = capsys.readouterr().out
    assert json.loads(printed, parse_constant=pytest.fail) == {"loss": None, "scores": [None, 1.5], "name": "ü"}


@pytest.mark.parametrize("mode", [{}, {"quiet": True}, {"as_json": True}], ids=["text", "quiet", "json"])
def test_warnings_errors_and_hints_go_to_stderr(capsys, mode):
    output = Output(**mode)
    output.warning("too\nhot")
    output.error("too\n  cold")
    output.hint("next: nasreg list")
    hint = "" if "quiet" in mode else "next: nasreg list\n"
    assert capsys.readouterr() == ("", f"nasreg: warning: too hot\nnasreg: error: too cold\n{hint}")


@pytest.mark.parametrize(
    ("mode", "stream"),
    [({}, "out"), ({"as_json": True}, "err"), ({"quiet": True}, None)],
    ids=["text", "json", "quiet"],
)
def test_progress_goes_beside_the_result_and_warnings_to_stderr(capsys, mode, stream):
    with Output(**mode).progress() as callbacks:
        for callback in callbacks:
            callback(StageStarted(1, 3, 1, "5 cells"))
            callback(Notice("a checkpoint is damaged"))
    captured = capsys.readouterr()
    assert ("stage 1/3" in captured.out, "stage 1/3" in captured.err) == (stream == "out", stream == "err")
    assert captured.err.endswith("nasreg: warning: a checkpoint is damaged\n")
    assert "damaged" not in captured.out


def test_letters_that_a_stream_does_not_know_are_escaped(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    Output().line("97.0% ± 0.1%")
    assert raw.getvalue() == b"97.0% \\xb1 0.1%\n"


def test_tables_are_plain_in_a_pipe_and_folded_on_a_terminal(monkeypatch, capsys):
    rows = [("name", "x" * 100), ("longer name", "y")]
    Output().table("title", rows)
    assert capsys.readouterr().out == f"title\n  name         {'x' * 100}\n  longer name  y\n"
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    Output().table("title", rows)
    assert max(map(len, terminal.getvalue().splitlines())) < 100


# -- commands ------------------------------------------------------------------------------------------------------

DOCUMENTS = {
    "list": ["list"],
    "list of a kind": ["list", "algorithms", "--family", "one-shot"],
    "list without a match": ["list", "zz*"],
    "describe": ["describe", "darts"],
    "plugins": ["plugins", "--check"],
    "dry run": ["run", "darts", "--dry-run"],
    "dry retraining": ["retrain", "DARTS_V2", "--dry-run"],
    "profile": ["profile", "DARTS_V2", *SMALL, "--image", "3x8x8", "--batch", "2"],
    "profile of a space": ["profile", "--space", "chain", "--set", "space.blocks=1", "--image", "1x8x8"],
    "export": ["export", "DARTS_V2", *SMALL, "--image", "3x8x8", "-o", "network.safetensors"],
    "show": ["show", "RUN"],
    "show of a genotype": ["show", "DARTS_V2", "-o", "cells.svg"],
    "show of a network": ["show", "DARTS_V2", "--network", *SMALL],
    "evaluate": ["evaluate", "RETRAINED"],
}


@pytest.mark.parametrize("argv", DOCUMENTS.values(), ids=DOCUMENTS)
def test_json_is_one_document(tmp_path, monkeypatch, capsys, searched, retrained, argv):
    monkeypatch.chdir(tmp_path)
    paths = {"RUN": str(searched.path), "RETRAINED": str(retrained.path)}
    assert main([*(paths.get(each, each) for each in argv), "--json"]) == 0
    captured = capsys.readouterr()
    json.loads(captured.out, parse_constant=pytest.fail)
    assert "nasreg: error" not in captured.err


def test_a_retraining_prints_json_and_its_progress_elsewhere(retrained):
    result = json.loads(retrained.out, parse_constant=pytest.fail)
    assert result["run_dir"] == str(retrained.path)
    assert 0 <= result["metrics"]["test_accuracy"] <= 1
    assert "epoch 2/2" in retrained.err
    assert retrained.err.endswith("next: nasreg evaluate run\n")


def test_quiet_prints_the_run_directory_and_resume_extends_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*RANDOM, "-q"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    run = out.removesuffix("\n")
    assert (tmp_path / run / "run.yaml").is_file()
    assert run.startswith("runs/random-digits-")
    assert main(["resume", run, "--set", "trainer.max_trials=2", "--json"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out, parse_constant=pytest.fail)
    assert result["trials"]["done"] == 2
    assert result["best_trial"]["architecture"] == result["architecture"]["decisions"]
    assert "resuming after 1 trial\n" in err
    assert re.search(r"^trial \d+ \(2/2\): validation accuracy ", err, re.MULTILINE)
    assert "(1/2):" not in err


FRAGILE = """
from torch import nn

from nasreg.nn import LayerChoice


class Broken(nn.Conv2d):
    def forward(self, x):
        raise ValueError(f"no images of {x.shape[-1]} pixels")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        layers = {"small": nn.Conv2d(1, 4, 1), "broken": Broken(1, 4, 3), "large": nn.Conv2d(1, 4, 7, padding=3)}
        self.layer = LayerChoice(layers, key="layer")
        self.head = nn.Linear(4, 10)

    def forward(self, x):
        return self.head(self.layer(x).mean((2, 3)))
"""


def test_trials_are_printed_the_best_first_with_why_others_have_no_score(tmp_path, monkeypatch, capsys):
    """Of three architectures one cannot be evaluated, and one is above the budget."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fragile.py").write_text(FRAGILE)
    options = ("max_trials=3", "max_parameters=90%", "duplicates=reject")
    argv = ["run", "random", "--space", "fragile.py:Net", "--device", "cpu", "--out", "run"]
    argv += [each for option in options for each in ("--set", f"trainer.{option}")]
    assert main([*argv, "--set", "evaluator.epochs=1", "--set", "dataset.limit=60"]) == 0
    out, err = capsys.readouterr()
    trials = [json.loads(line) for line in (tmp_path / "run/trials.jsonl").read_text().splitlines()]
    first = {each["architecture"]["layer"]: each for each in reversed(trials)}
    done, failed, rejected = (first[name] for name in ("small", "broken", "large"))
    assert (done["status"], failed["status"], rejected["status"]) == ("done", "failed", "rejected")
    assert "preset demo, the default for data set digits" in out
    assert f"trial {done['trial']} (" in out
    assert f"{done['score']:.1%} (best so far), 58 parameters, " in out
    warnings = [line.removeprefix("nasreg: warning: ") for line in err.splitlines() if "warning" in line]
    assert [line.partition(":")[0] for line in warnings] == [
        "trials with it will fail",
        "the search ends with what it has",
    ]
    table = out.partition("trials, the best first\n")[2]
    rows = [line.split() for line in table.splitlines()]
    assert rows[0] == ["trial", "validation", "accuracy", "parameters", "time"]
    assert rows[1][:3] == [str(done["trial"]), f"{done['score']:.1%}", "58"]
    assert rows[2][:3] == [str(failed["trial"]), "failed", "90"]
    assert table.splitlines()[2].endswith("  ValueError: no images of 8 pixels")
    assert "  1 failed: ValueError: no images of 8 pixels\n" in table
    assert f"  {len(trials) - 2} rejected: " in table
    assert "parameters 250 above 225" in table
    assert "  tracebacks are in run/errors.txt\n  all trials are in run/trials.jsonl\n\nlayer = small\n" in table
    assert "no images of 8 pixels" in (tmp_path / "run/errors.txt").read_text()
    assert main(["show", "run"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("trials, the best first\n" + table.partition("\nwrote")[0])
    assert main(["show", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["trials"] == trials


QUIET = {
    "names": (["list", "spaces", "[cd]*"], ["chain", "darts"]),
    "no plugin with a problem": (["plugins"], []),
    "a file": (["show", "DARTS_V2", "-o", "cells.svg"], ["cells.svg"]),
    "nothing": (["show", "DARTS_V2"], []),
    "two files": (
        ["export", "DARTS_V2", *SMALL, "--image", "3x8x8", "-o", "a.safetensors"],
        ["a.safetensors", "a.safetensors.json"],
    ),
}


@pytest.mark.parametrize(("argv", "expected"), QUIET.values(), ids=QUIET)
def test_quiet_prints_bare_values(tmp_path, monkeypatch, capsys, argv, expected):
    monkeypatch.chdir(tmp_path)
    assert main([*argv, "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines() == expected


def test_quiet_evaluation_is_a_number(capsys, retrained):
    assert main(["evaluate", str(retrained.path), "-q"]) == 0
    assert float(capsys.readouterr().out) == json.loads(retrained.out)["metrics"]["test_accuracy"]


# -- pipes ---------------------------------------------------------------------------------------------------------


def shell(line: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", f'nasreg() {{ {sys.executable} -W error -m nasreg "$@"; }}; {line}'],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, **env},
    )


@pytest.mark.parametrize("argv", ["describe darts", "--help"])
def test_a_reader_that_goes_away_is_no_error(tmp_path, argv):
    done = shell(f"nasreg {argv} | (exit 0)", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_a_run_continues_when_its_reader_goes_away(tmp_path):
    done = shell(f"nasreg {' '.join(RANDOM)} --out run | head -n 1", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "next: nasreg retrain run\n"
    assert done.stdout.startswith("preset demo, the default for data set digits; others: ")
    assert json.loads((tmp_path / "run/status.json").read_text())["state"] == "done"


def test_a_warning_of_nasreg_is_one_line(tmp_path):
    done = shell("nasreg list spaces '[cd]*' -q", tmp_path, NASREG_DISABLE="not-here")
    assert done.returncode == 0
    assert done.stdout == "chain\ndarts\n"
    assert done.stderr.startswith("nasreg: warning: ")
    assert done.stderr.count("\n") == 1
