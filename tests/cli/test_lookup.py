"""``nasreg list``, ``describe`` and ``plugins``: what they print, and that they import no torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import nasreg
from nasreg.cli import main
from words import check_refused

HEAVY = ("torch", "torchvision", "numpy", "sklearn", "matplotlib", "rich")


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["list"], ["list", "--json"], ["describe", "darts"], ["plugins"], ["run", "--help"]],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(words):
    code = f"""
import sys
from nasreg.cli import main
code = main({words!r})
print([name for name in {HEAVY!r} if name in sys.modules], code, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[] 0\n"
    assert done.stdout


def test_importing_nasreg_finds_no_plugin_and_imports_no_torch():
    code = (
        "import nasreg, sys; print([n for n in sys.modules if n.split('.')[0] in ('torch', 'pluggy', 'nasreg_darts')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def printed(capsys, *words: str) -> str:
    assert main(words) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_list(capsys):
    text = printed(capsys, "list")
    for name in (*nasreg.list_algorithms(), *nasreg.list_spaces(), *nasreg.list_datasets()):
        assert f"\n  {name} " in text
    assert json.loads(printed(capsys, "list", "--json")) == {
        "algorithms": {name: nasreg.get_algorithm(name).summary for name in nasreg.list_algorithms()},
        "spaces": {name: nasreg.get_space(name).summary for name in nasreg.list_spaces()},
        "datasets": {name: nasreg.get_dataset(name).summary for name in nasreg.list_datasets()},
        "genotypes": {name: nasreg.get_genotype(name).summary for name in nasreg.list_genotypes()},
    }
    assert "digits" not in printed(capsys, "list", "algorithms")


def test_describe(capsys):
    text = printed(capsys, "describe", "darts")
    for part in (
        "1806.09055",
        "preset paper",
        "trainer.weights_lr",
        "0.025",
        "space darts",
        "space.cells",
        "nasreg-darts",
    ):
        assert part in text
    assert "space.cells" not in printed(capsys, "describe", "darts", "--kind", "algorithm")
    described = json.loads(printed(capsys, "describe", "darts", "--json"))
    assert described == json.loads(json.dumps(nasreg.describe("darts")))
    assert "nothing to download" in printed(capsys, "describe", "digits")


def test_plugins(capsys):
    text = printed(capsys, "plugins")
    assert "nasreg-darts 0.1.0" in text
    records = {record["name"]: record for record in json.loads(printed(capsys, "plugins", "--json"))}
    assert records["darts"]["algorithms"] == ["darts"]
    assert printed(capsys, "plugins", "--check")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["describe", "dart"], "nothing is called 'dart'. Did you mean 'darts'"),
        (["list", "algoritms"], "algoritms"),
        (["describe"], "NAME"),
        (["describe", "darts", "--kind", "dataset"], "there is no data set 'darts'"),
        (["lst"], "lst"),
        (["list", "--jsn"], "--jsn"),
        (["plugins", "extra"], "extra"),
    ],
)
def test_wrong_words(capsys, words, says):
    check_refused(words, says, capsys)


def test_a_reader_that_goes_away_is_no_error():
    words = f"{sys.executable} -m nasreg describe darts | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", words], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.startswith("algorithm darts")
