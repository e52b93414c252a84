"""What a run says of itself: its preset, its time, whose parameters and whose metrics they are, what to do next."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

import nasreg
import tiny_runs
from argv import check_refused
from evaluators import DESCENT, SCRIPTED, Digits
from nasreg.cli import main
from nasreg.cli.output import Output
from nasreg.cli.paths import shell_command
from nasreg.cli.results import first_lines
from nasreg.cli.start import FirstLines
from nasreg.config.request import RunRequest
from nasreg.config.resolve import resolve
from nasreg.engine.retrain import resolve_retrain
from nasreg.events import RunStarted, SearchStarted, StepEnded
from nasreg.networks.weights import read_manifest
from nasreg.registry import Registry, default_registry
from nasreg.runs import files

STARTED = RunStarted(None, None, (), "cpu", 1, 50, 100, 1, 1, None)
TINY = ("--set", "space.cells=1", "--set", "space.channels=2", "--set", "space.nodes=1", "--device", "cpu")


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        ({"dataset": "folder:."}, "preset paper, the default; others: --preset; all options: --dry-run\n"),
        ({"dataset": "cifar10"}, "preset paper, the default; others: --preset; all options: --dry-run\n"),
        ({}, "preset demo, the default for data set digits; others: --preset; all options: --dry-run\n"),
        ({"preset": "paper"}, ""),
        ({"settings": ["preset=paper"]}, ""),
        ({"config": {"preset": "paper"}}, ""),
    ],
)
def test_the_preset_that_nobody_named_is_said(request_, line, capsys):
    run = resolve(default_registry(), RunRequest(algorithm="darts", **request_))
    first_lines(Output(), run, "--preset")(STARTED)
    assert capsys.readouterr().out == line


def test_the_recipe_that_nobody_named_is_said(capsys):
    run = resolve_retrain(default_registry(), "DARTS_V2", "folder:.")
    first_lines(Output(), run, "--recipe")(STARTED)
    assert capsys.readouterr().out == "recipe cifar, the default; others: --recipe; all options: --dry-run\n"


@pytest.mark.slow
def test_the_parameters_that_only_training_needs_are_said(searched, tmp_path, capsys):
    assert main(["retrain", str(searched.path), *tiny_runs.RETRAIN, "--out", str(tmp_path / "run")]) == 0
    line = next(each for each in capsys.readouterr().out.splitlines() if each.startswith("network of "))
    found = re.match(r"network of ([\d,]+) parameters \(([\d,]+) of them in its auxiliary head\), 2 epochs of ", line)
    everything, auxiliary = (int(each.replace(",", "")) for each in found.groups())
    network = nasreg.load_network(tmp_path / "run" / files.LAST_WEIGHTS)
    assert sum(each.numel() for each in network.parameters()) == everything - auxiliary


def test_the_time_is_estimated_once_and_soon(capsys):
    now = 0.0
    lines = FirstLines(Output(), None, clock=lambda: now)
    lines(STARTED)
    for step in range(1, 30):
        lines(StepEnded(1, step, 100, 1.0))
        now += 2.0
    # The first step is not measured, the next three take 6 s; 50 epochs of 100 steps without these four remain.
    assert capsys.readouterr().out == "about 2 h 46 min left, at 2.0 s a step, without validation\n"


def test_the_metrics_of_a_supernet_are_said_to_be_its(searched, tmp_path, capsys):
    # darts#47
    assert "the metrics of the epochs are those of the supernet; retrain the architecture for its own" in searched.out
    assert shlex.split(searched.err)[:3] == ["next:", "nasreg", "retrain"]
    argv = ["--set", "dataset.limit=60", "--set", "trainer.epochs=1", "--out", str(tmp_path / "run"), "--json"]
    assert main(["run", "darts", *TINY, *argv]) == 0
    assert json.loads(capsys.readouterr().out)["last_epoch"]["model"] == "supernet"
    # A search without a reduction cell, whose architecture fits no network of a recipe: katib#1185
    check_refused(["retrain", str(tmp_path / "run")], "'reduce' is missing; it was searched with other", capsys)
    assert main(["retrain", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.endswith("so give --set space.cells=1\n")
    page = (searched.path / files.REPORT).read_text()
    assert "of the supernet" in page


@pytest.mark.parametrize("name", ["with space", "quo'te", "-dash", "semi;colon", "~home", "plain"])
def test_commands_after_next_can_be_pasted(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    words = shlex.split(shell_command("retrain", tmp_path / name))
    assert words[:2] == ["nasreg", "retrain"]
    assert not words[2].startswith("-")
    assert Path(words[2]).samefile(tmp_path / name)


def test_no_data_set_is_named_where_none_is_loaded(tmp_path):
    registry = Registry()
    registry.register(DESCENT)
    registry.register(SCRIPTED)
    events = []
    nasreg.search(
        Digits, "digits", "descent", trainer={"max_trials": 2}, out=tmp_path / "run", callbacks=[events.append],
        registry=registry, device="cpu",
    )  # fmt: skip
    (started,) = (event for event in events if isinstance(event, SearchStarted))
    assert not started.uses_data
    assert started.spec.title_of(uses_data=False) == "descent: space Digits"
    assert started.spec.headline_of(uses_data=False) == "descent on Digits"


def test_quiet_prints_the_objective_of_the_task(retrained, capsys):
    assert read_manifest(retrained.path / files.LAST_WEIGHTS).task == "classification"
    assert main(["evaluate", str(retrained.path), "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert main(["evaluate", str(retrained.path), "-q"]) == 0
    assert float(capsys.readouterr().out) == metrics["accuracy"]
    assert nasreg.evaluate(retrained.path).objective == "accuracy"


def test_the_words_and_the_picture_name_the_inputs_of_a_cell_alike(searched):
    assert "(c_{k-2})" in searched.out
    assert "input 0" not in searched.out
