"""Commands and scripts in forked processes, which have torch and the like already: a new process imports for seconds.

What a process of its own is needed for (its start, its imports, its signals) is tested with one.
"""

from __future__ import annotations

import functools
import importlib
import os
import runpy
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from nasreg.cli import main
from nasreg.registry import default_registry

IMPORTED = (
    *("nasreg.engine.evaluate", "nasreg.engine.runs", "nasreg.networks.export", "nasreg.networks.profile"),
    *("nasreg.report.page.html", "nasreg_darts.trainer"),
    *("matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "matplotlib.figure", "sklearn.datasets"),
)
"""What most commands import."""


class Done(NamedTuple):
    """A process that has ended."""

    code: int
    out: str
    err: str


def nasreg(*argv: object, cwd: Path | None = None) -> Done:
    """Run a ``nasreg`` command in a folder."""
    return _run(lambda: main(list(map(str, argv))), cwd)


def script(path: Path, *argv: object, cwd: Path | None = None) -> Done:
    """Run a Python file as ``python PATH ARGV`` would."""

    def run() -> int:
        sys.argv = [str(path), *map(str, argv)]
        sys.path.insert(0, str(path.parent))
        runpy.run_path(str(path), run_name="__main__")
        return 0

    return _run(run, cwd)


def call(function: Callable[[], object], cwd: Path | None = None) -> Done:
    """Call a function whose result is what it prints."""

    def run() -> int:
        function()
        return 0

    return _run(run, cwd)


@functools.cache
def _import() -> None:
    for name in IMPORTED:
        importlib.import_module(name)


def _run(body: Callable[[], int], cwd: Path | None) -> Done:
    _import()
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn when a process with threads forks
            child = os.fork()
        if child == 0:
            _become(body, cwd, out.fileno(), err.fileno())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return Done(code, *texts)


def _become(body: Callable[[], int], cwd: Path | None, out: int, err: int) -> None:
    """Be the new process, which ends here and never returns to the tests."""
    code = 1
    try:
        with open(os.devnull, encoding="utf-8") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdin, sys.stdout, sys.stderr = (
            open(number, mode, encoding="utf-8", closefd=False) for number, mode in enumerate("rww")
        )
        if cwd is not None:
            os.chdir(cwd)
        default_registry.cache_clear()  # what a test registers is in its own process only
        code = body()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)  # noqa: T201
    except BaseException:  # noqa: BLE001  # as the interpreter does at the end of a process
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def check(done: Done) -> Done:
    """Check that a process ended well, and return it."""
    if done.code:
        pytest.fail(f"exit code {done.code}\n{done.out}\n{done.err}")
    return done
