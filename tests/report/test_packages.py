"""Without matplotlib or jinja2 everything but drawings and pages works, and those say what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

import nasreg
from nasreg.errors import ConfigError
from nasreg.report import (
    cells_figure,
    describe_architecture,
    draw_candidates,
    draw_cells,
    draw_network,
    missing_packages,
    write_report,
)
from nasreg.specs import LayerChoiceSpec, SearchSpaceSpec

SPACE = SearchSpaceSpec(choices=(LayerChoiceSpec(key="conv", candidates=("conv3x3", "conv5x5")),))
ARCHITECTURE = SPACE.architecture({"conv": "conv5x5"})
DRAWINGS = r'^drawings need a package: pip install "nasreg\[report\]"$'


def test_installed_packages_are_not_missing_and_not_imported():
    assert missing_packages() == []
    code = """
import sys
from nasreg.report import missing_packages

sys.exit(bool(missing_packages()) or bool({"matplotlib", "jinja2", "torch"} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_drawings_need_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert missing_packages() == ["matplotlib"]
    calls = [
        lambda: draw_cells(SPACE, ARCHITECTURE, tmp_path / "cells.svg"),
        lambda: cells_figure(SPACE, ARCHITECTURE),
        lambda: draw_candidates(SPACE, tmp_path / "left.svg", remaining={}),
        lambda: draw_network([], tmp_path / "network.svg"),
        lambda: write_report(tmp_path),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match=DRAWINGS):
            call()
    assert not list(tmp_path.iterdir())
    assert describe_architecture(SPACE, ARCHITECTURE) == "conv = conv5x5"


def test_the_page_needs_jinja2(darts, monkeypatch):
    before = (darts / "index.html").read_bytes()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert missing_packages() == ["jinja2"]
    with pytest.raises(ConfigError, match=r'^the report page needs a package: pip install "nasreg\[report\]"$'):
        write_report(darts)
    assert (darts / "index.html").read_bytes() == before


def test_the_digits_need_scikit_learn(monkeypatch):
    for name in ("sklearn", "sklearn.datasets", "sklearn.model_selection"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        ConfigError, match=r"""^the data set 'digits' needs a package: pip install "nasreg\[digits\]"$"""
    ):
        nasreg.search("chain", "digits", trainer={"epochs": 1})
