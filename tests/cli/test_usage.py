"""Wrong usage: exit code 2, one line that says what is wrong and what to do, and nothing is written."""

from __future__ import annotations

import re

import pytest

from nasreg.cli import _COMMANDS, main
from nasreg.cli.paths import run_directory, shell_command
from words import check_refused

WRONG = [
    (["run"], "algorithm"),
    (["run", "dart"], "Did you mean 'darts'"),
    (["run", "darts", "--space", "dats"], "Did you mean 'darts'"),
    (["run", "darts", "--space", "nowhere.to:find"], "No module named 'nowhere'"),
    (["run", "darts", "--space", "nowhere.py:Net"], "there is no file"),
    (["run", "darts", "--dataset", "digit"], "Did you mean 'digits'"),
    (["run", "darts", "--dataset", "folder:/no/such/folder"], "there is no folder /no/such/folder"),
    (["run", "darts", "--dataset", "folder:"], "expected folder:PATH"),
    (["run", "darts", "--preset", "papr"], "Did you mean 'paper'"),
    (["run", "darts", "--device", "cuda:99"], "no device 'cuda:99'"),
    (["run", "darts", "--config", "/no/such/file.yaml"], "cannot read config file /no/such/file.yaml: No such file"),
    (["run", "darts", "--seed", "x"], "--seed"),
    (["run", "darts", "--seed", "-1"], "seed"),
    (["run", "darts", "extra"], "extra"),
    (["run", "darts", "--out", "/dev/null/run"], "choose another directory with --out"),
    (["run", "darts", "--set", "trainer.epoch=3"], "Did you mean 'trainer.epochs'"),
    (["run", "darts", "--set", "epochs=3"], "there is no option 'epochs' (from --set). Did you mean 'trainer.epochs'?"),
    (["run", "darts", "--set", "cells=3"], "Did you mean 'space.cells'?"),
    (["run", "darts", "--set", "limit=3"], "Did you mean 'dataset.limit'?"),
    (["run", "darts", "--set", "trainr.epochs=3"], "Did you mean 'trainer'"),
    (["run", "darts", "--set", "trainer.epochs=many"], "trainer.epochs: 'many' is invalid (from --set)"),
    (["run", "darts", "--set", "epochs"], "expected KEY=VALUE"),
    (["run", "darts", "--set", "space.reductions=4"], "3 cells are too few for 4 reduction cells"),
    (["run", "darts", "--set", "space.reductions=4", "--set", "space.cells=8"], "too small for 4 reduction cells"),
    (["run", "darts", "--workers", "2"], "has no trials"),
    (["run", "random", "--executor", "threads"], "executor"),
    (["run", "random", "--evaluator", "trainin"], "Did you mean 'training'"),
    (["run", "random", "--set", "trainer.max_parameters=half"], "a share of the largest architecture such as 50%"),
    (["run", "random", "--set", "trainer.initial=[no/run]"], "there is no run directory or file"),
    (
        ["run", "darts", "--set", "space.candidates=[none,none]"],
        "space.candidates: ['none', 'none'] is invalid (from --set): expected at least one operation beside none",
    ),
    (["run", "darts", "--set", "space.auxiliary=true"], "space: auxiliary is for phase='retrain' only"),
    (["run", "darts", "--set", "trainer.epochs=[1"], "the value of --set trainer.epochs is not YAML"),
    (["resume", "/no/such/run"], "there is no run directory /no/such/run"),
    (["resume", "."], "it has no run.yaml"),
    (["show", "/no/such/run"], "there is no run directory"),
    (["show", "."], "it has no run.yaml"),
    (["show", "DARTS_V9"], "Did you mean"),
    (["show", "x" * 5000], "no genotype"),
    (["show", "DARTS_V2", "-o", "/dev/null/cells.svg"], "there is no folder /dev/null"),
    (["show", "DARTS_V2", "-o", "no/such/cells.svg"], "cannot draw no/such/cells.svg: there is no folder no/such"),
    (["show", "DARTS_V2", "-o", "cells.gif"], "the name must end in .svg or .png"),
    (["show", "DARTS_V2", "--set", "space.cells=3"], "--set is for --network only"),
    (["retrain", "."], "it has no run.yaml"),
    (["retrain", "DARTS_V2", "--recipe", "cifarr"], "Did you mean 'cifar'"),
    (["retrain", "DARTS_V2", "--set", "epochs=3"], "Did you mean 'trainer.epochs'?"),
    (["retrain", "DARTS_V2", "--set", "mutator.init_std=1"], "there is no option 'mutator'"),
    (["retrain", "DARTS_V2", "--seeds", "1,x"], "--seeds '1,x' is invalid: expected numbers, such as 0,1,2"),
    (["retrain", "DARTS_V2", "--seeds", "1,1"], "seeds must be different numbers"),
    (["evaluate", "none.safetensors"], "cannot read none.safetensors"),
    (["evaluate", "."], "has no trained weights"),
    (["list", "algoritms"], "there is no kind 'algoritms' to list. Did you mean 'algorithms'?"),
    (["list", "spaces", "--family", "one-shot"], "--family is for algorithms, not for spaces"),
    (["list", "--jsn"], "--jsn"),
    (["describe"], "name"),
    (["describe", "dart"], "nothing is called 'dart'. Did you mean 'darts'"),
    (["describe", "darts", "--kind", "dataset"], "there is no data set 'darts'"),
    (["plugins", "extra"], "extra"),
    (["new-plugin", "My Algo"], "such as 'my-algo'"),
    (["new-plugin", "darts"], "an algorithm 'darts' is installed already: choose another name"),
    (["new-plugin", "mine", "--out", "/dev/null/mine"], "cannot write to /dev/null/mine"),
    (["shwo"], "shwo"),
]


@pytest.mark.parametrize(("argv", "says"), WRONG, ids=[" ".join(argv)[:60] for argv, _ in WRONG])
def test_wrong_usage_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, capsys, argv, says):
    monkeypatch.chdir(tmp_path)
    check_refused(argv, says, capsys)
    assert list(tmp_path.iterdir()) == []


TWICE = [
    (["run", "darts", "--set", "trainer.epochs=1", "--set", "trainer.epochs=2"], "--set trainer.epochs is given twice"),
    (
        ["run", "darts", "--set", "trainer={epochs: 1}", "--set", "trainer.epochs=2"],
        "--set trainer.epochs is given twice",
    ),
    (["run", "darts", "--set", "trainer={epochs: 1, epochs: 2}"], "key 'epochs' stands twice"),
    (["run", "darts", "--set", "space=darts", "--set", "space=chain"], "--set space.name is given twice"),
    (["run", "darts", "--seed", "1", "--seed", "2"], "--seed is given twice: give it once"),
    (["run", "darts", "--seed=1", "--device", "cpu", "--seed=1"], "--seed is given twice"),
    (["show", "DARTS_V2", "-o", "a.svg", "--out", "b.svg"], "--out is given twice"),
    (["show", "DARTS_V2", "-oa.svg", "-ob.svg"], "--out is given twice"),
    (["retrain", "DARTS_V2", "--seed", "1", "--seeds", "1,2"], "--seed and --seeds exclude each other"),
]


@pytest.mark.parametrize(("argv", "says"), TWICE, ids=[" ".join(argv)[:60] for argv, _ in TWICE])
def test_what_is_given_twice_is_refused(tmp_path, monkeypatch, capsys, argv, says):
    monkeypatch.chdir(tmp_path)
    check_refused(argv, says, capsys)
    assert list(tmp_path.iterdir()) == []


def test_flags_and_settings_may_be_repeated(capsys):
    argv = ["run", "darts", "--dry-run", "--dry-run", "--set", "space=darts", "--set", "space.cells=5"]
    assert main([*argv, "--set", "space.channels=3"]) == 0
    assert "cells: 5\n  channels: 3\n" in capsys.readouterr().out


def test_a_key_that_stands_twice_in_a_config_file_is_refused(tmp_path, capsys):
    path = tmp_path / "run.yaml"
    path.write_text("trainer:\n  epochs: 1\n  lr: 0.1\n  epochs: 2\n")
    says = f"{path}: key 'epochs' stands twice, again in line 4"
    check_refused(["run", "darts", "--config", str(path)], says, capsys)


EMPTY = [
    ["run", ""],
    ["run", "darts", "--out", ""],
    ["run", "darts", "--out="],
    ["run", "darts", "--config", ""],
    ["run", "darts", "--space", ""],
    ["run", "darts", "--set", ""],
    ["resume", ""],
    ["show", ""],
    ["show", "DARTS_V2", "-o", ""],
    ["retrain", ""],
    ["retrain", "DARTS_V2", "--out", ""],
    ["evaluate", ""],
    ["profile", ""],
    ["export", "DARTS_V2", "--weights", ""],
    ["describe", ""],
    ["new-plugin", "mine", "--out", ""],
]


@pytest.mark.parametrize("argv", EMPTY, ids=" ".join)
def test_an_empty_value_is_refused(tmp_path, monkeypatch, capsys, argv):
    monkeypatch.chdir(tmp_path)
    check_refused(argv, "is empty: give a value, or leave it out", capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "shown"), [("010", "10"), ("64", "64"), ("0x10", "16"), ("1_0", "10"), ("+7", "7"), ("6.0e1", "60")]
)
def test_whole_numbers_are_decimal(capsys, text, shown):
    assert main(["run", "darts", "--dry-run", "--set", f"trainer.batch_size={text}"]) == 0
    assert f"\n  batch_size: {shown}\n" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["1e-3", "1E-3", ".001", "0.001"])
def test_powers_of_ten_are_numbers(capsys, text):
    assert main(["run", "darts", "--dry-run", "--set", f"trainer.lr={text}"]) == 0
    assert "\n  lr: 0.001\n" in capsys.readouterr().out


def test_times_and_octal_numbers_of_old_yaml_are_not_numbers(capsys):
    for text in ("1:30", "0b11"):
        check_refused(["run", "darts", "--set", f"trainer.epochs={text}"], f"trainer.epochs: '{text}'", capsys)


@pytest.mark.parametrize("argv", [["show", "DARTS_V2", "-o", "FOLDER/cells.svg"], ["export", "X", "-o", "y.pt2"]])
def test_an_error_of_the_system_is_one_sentence(tmp_path, monkeypatch, capsys, argv):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(tmp_path / "cells.svg"))

    monkeypatch.setattr("nasreg.report.draw_cells", refuse, raising=False)
    monkeypatch.setattr("nasreg.cli.network._resolve", refuse)
    check_refused(argv, f"{tmp_path / 'cells.svg'}: Permission denied", capsys)


def test_a_picture_that_cannot_be_written_names_its_file(tmp_path, monkeypatch, capsys):
    (tmp_path / "cells.svg").mkdir()
    monkeypatch.chdir(tmp_path)
    check_refused(["show", "DARTS_V2", "-o", "cells.svg"], "cannot write cells.svg: is a directory", capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["cells.svg"]


# -- help ----------------------------------------------------------------------------------------------------------


def test_nasreg_alone_prints_its_help(capsys):
    assert main([]) == 0
    alone = capsys.readouterr()
    assert main(["--help"]) == 0
    assert capsys.readouterr() == alone
    assert alone.err == ""
    assert len(alone.out.splitlines()) > len(_COMMANDS)


def test_the_help_lists_each_command_with_a_whole_sentence(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "110")
    assert main(["-h"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in _COMMANDS:
        assert any(re.fullmatch(rf"  {name} +[A-Z].*[a-z]\.", line) for line in lines), name


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_command_explains_each_argument_and_option(capsys, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "200")
    assert main([name, "--help"]) == 0
    lines = re.sub(r"\n {20,}", "  ", capsys.readouterr().out).splitlines()
    entries = [line for line in lines if re.match(r"  (-|[A-Z\[]+\b.*  )", line)]
    assert len(entries) >= 2
    for line in entries:
        assert re.search(r"  [A-Za-z.]", line[2:]), line


# -- paths ---------------------------------------------------------------------------------------------------------


def test_two_runs_in_the_same_second_get_two_directories(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda _: "20260101-000000")
    with run_directory(None, "darts-my data") as first, run_directory(None, "darts-my data") as second:
        assert (first.name, second.name) == ("darts-my-data-20260101-000000", "darts-my-data-20260101-000000-2")
        assert first.is_dir()
        assert second.is_dir()
        (first / "run.yaml").touch()
    assert first.is_dir()
    assert not second.exists()  # nothing was written into it


def test_a_run_that_fails_at_once_leaves_no_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no"), run_directory(None, "darts"):
        raise ValueError("no")
    assert list(tmp_path.iterdir()) == []


def test_commands_are_quoted_for_a_shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shell_command("retrain", tmp_path / "my run", "--seed", "1") == "nasreg retrain 'my run' --seed 1"
    assert shell_command("show", tmp_path.parent / "it's") == f"nasreg show '{tmp_path.parent}/it'\"'\"'s'"
