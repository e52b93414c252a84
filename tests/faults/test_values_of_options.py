"""Values of options as text: what YAML of different versions reads differently, what is empty, what is given twice."""

from __future__ import annotations

import pytest

from argv import check_refused
from nasreg.cli import main
from nasreg.config.layers import settings_layer


# yacs#46
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        ("-.5e2", -50.0),
        ("010", 10),
        ("0x10", 16),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("=", "="),
        ("null", None),
        ("[1e-3, 2]", [0.001, 2]),
    ],
)
def test_numbers_and_text_are_those_of_yaml_1_2(text, value):
    found = settings_layer([f"space.x={text}"], ["space"]).values["space"]["x"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["run", "darts", "--set", "seed="], "--set seed= has no value"),
        (["run", "darts", "--set", "preset= "], "has no value: give one, such as null, or leave it out"),
        (["run", "darts", "--set", "space.candidates=[none, none]"], "space.candidates: ['none', 'none'] is invalid"),
        (["run", "darts", "--set", "space.candidates=[skip_connect, skip_connect]"], "skip_connect is given twice"),
        (["run", "darts", "--set", "space.candidates=skip_connect"], "should be a list, as in [A, B]"),
        (["run", "darts", "--space", "chain", "--set", "space.kernels=[3, 3]"], "3 is given twice"),
        (["run", "darts", "--set", "epochs=1"], "Did you mean 'trainer.epochs'?"),
        (["run", "darts", "--set", "seed=1", "--set", "seed=2"], "--set seed is given twice"),
        (["evaluate", "x", "--device", "cpu", "--device", "cpu"], "--device is given twice"),
        (["retrain", "DARTS_V2", "--seed", "1", "--seeds", "1,2"], "exclude each other"),
        (["show", ""], "is empty"),
        (["export", "DARTS_V2", "-o", ""], "--out is empty"),
    ],
)
def test_what_would_be_ignored_or_misread_is_refused(argv, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    check_refused(argv, says, capsys)
    assert not any(tmp_path.iterdir())


def test_nasreg_alone_prints_its_help(capsys):
    assert main([]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") > 10
    assert captured.err == ""
