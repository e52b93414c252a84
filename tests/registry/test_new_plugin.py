"""What ``nasreg new-plugin`` writes installs, shows up, runs and passes its own tests and linters as it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasreg.cli import main
from nasreg.errors import ConfigError
from nasreg.registry import Registry
from nasreg.scaffold import MAX_LENGTH, new_plugin
from plugin_venv import build, unpack

FAMILIES = ("one-shot", "multi-trial")
RUN_AND_TEST = """
import sys
import pytest
from nasreg.cli import main

assert main(sys.argv[1:]) == 0
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-W", "error"]))
"""


def check(*words: object, cwd: Path) -> None:
    done = subprocess.run([*map(str, words)], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_it_installs_runs_and_passes_its_own_tests(plain_venv, tmp_path):
    """One of trials; docs/writing-a-plugin.md, which the tests of the documentation run, has a one-shot plugin."""
    name = "my-evolution"
    done = plain_venv.run("new-plugin", name, "--family", "multi-trial", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / f"nasreg-{name}"
    assert done.stderr == f"next: python -m pip install -e './{folder.name}[test]' && nasreg run {name}\n"
    written = {line.removeprefix("wrote ") for line in done.stdout.splitlines()}
    assert written == {str(path.relative_to(tmp_path)) for path in folder.rglob("*") if path.is_file()}

    installed = {"PYTHONPATH": str(unpack(build(folder, tmp_path), tmp_path / "installed"))}
    assert name in plain_venv.json("list", "algorithms", env=installed)["algorithms"]
    settings = ["evaluator.epochs=2", "trainer.max_trials=2", "space.channels=2", "dataset.limit=200"]
    words = [word for setting in settings for word in ("--set", setting)]
    # in one process, which imports torch once
    done = subprocess.run(
        [plain_venv.python, "-c", RUN_AND_TEST, "run", name, *words, "--out", tmp_path / "run"],
        cwd=folder,
        env={**plain_venv.environment(), **installed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "run/status.json").read_text())["state"] == "done"
    assert " passed" in done.stdout
    assert " failed" not in done.stdout


@pytest.mark.slow
def test_linters_and_mypy_are_content(plain_venv, tmp_path):
    for family in FAMILIES:  # in one test: reading torch takes mypy most of the time, and it remembers
        folder = tmp_path / family
        new_plugin(f"my-{family}", family, folder, Registry(entry_points=False))
        check(sys.executable, "-m", "ruff", "check", ".", cwd=folder)
        check(sys.executable, "-m", "ruff", "format", "--check", ".", cwd=folder)
        words = ["--python-executable", plain_venv.python, "--cache-dir", tmp_path / "mypy"]
        check(sys.executable, "-m", "mypy", *words, cwd=folder)


words = st.text("abcxyz019", min_size=1, max_size=12)
names = st.lists(words, min_size=1, max_size=5).map("-".join).filter(lambda name: name[0].isalpha())


@settings(max_examples=15)
@given(name=names.filter(lambda name: len(name) <= MAX_LENGTH), family=st.sampled_from(FAMILIES))
def test_linters_are_content_with_any_name(name, family, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugin") / "out"
    new_plugin(name, family, folder, Registry(entry_points=False))
    check(sys.executable, "-m", "ruff", "check", "--no-cache", ".", cwd=folder)
    check(sys.executable, "-m", "ruff", "format", "--no-cache", "--check", ".", cwd=folder)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("My Algo", "cannot be the name of a plugin"),
        ("9a", "cannot be the name of a plugin"),
        ("a_b", "cannot be the name of a plugin"),
        ("a" * (MAX_LENGTH + 1), f"at most {MAX_LENGTH} lower-case letters"),
        ("../a", "cannot be the name of a plugin"),
        ("nasreg-a", "leave out 'nasreg-'"),
        ("darts", "is installed already"),
    ],
)
def test_names_that_cannot_be(tmp_path, name, told):
    with pytest.raises(ConfigError, match=told):
        new_plugin(name, "one-shot", tmp_path / "out", Registry())
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["new-plugin", "fresh", "--out", str(tmp_path)]) == 2
    assert "is not empty: choose another folder with --out" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert main(["new-plugin", "fresh", "--out", str(tmp_path / "notes.txt")]) == 2
    assert "cannot write to" in capsys.readouterr().err
