"""One tiny search and one tiny retraining by the command line, which all tests of this process share."""

from __future__ import annotations

import contextlib
import functools
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from nasreg.cli import main
from nasreg.report import write_report

SEARCH = (
    *("--set", "space.cells=2", "--set", "space.channels=2", "--set", "space.nodes=2"),
    *("--set", "space.candidates=[none, skip_connect, sep_conv_3x3]"),
    *("--set", "dataset.limit=100", "--set", "trainer.epochs=3", "--set", "trainer.batch_size=16", "--device", "cpu"),
)
RETRAIN = (
    *("--set", "space.cells=3", "--set", "space.channels=4", "--set", "dataset.limit=100"),
    *("--set", "trainer.epochs=2", "--set", "trainer.batch_size=32", "--device", "cpu"),
)


class Finished(NamedTuple):
    """A finished run, and what its command printed."""

    path: Path
    out: str
    err: str


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Work in a folder for the time of a block."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def finish(folder: Path, *argv: str) -> Finished:
    """Run a command in a folder, where it makes the run directory ``run``: with its page, whoever asks first."""
    folder.mkdir()
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        working_in(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr("nasreg.engine.execute.write_report", write_report)  # see ``without_report``
        code = main([*argv, "--out", "run"])
    assert code == 0, err.getvalue()
    return Finished(folder / "run", out.getvalue(), err.getvalue())


@functools.cache
def searched(base: Path) -> Finished:
    """Search for an architecture of cells on digits, below the base folder of the test session."""
    return finish(base / "tiny-search", "run", "darts", "--tensorboard", *SEARCH)


@functools.cache
def retrained(base: Path) -> Finished:
    """Train the network of that architecture; stdout has the result as JSON."""
    return finish(base / "tiny-retraining", "retrain", str(searched(base).path), *RETRAIN, "--json")
