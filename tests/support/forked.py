"""Commands and scripts in forked processes, which have torch and the like already: a new process imports for seconds.

What a process of its own is needed for (its start, its imports, its signals) is tested with one.
"""

from __future__ import annotations

import functools
import importlib
import os
import runpy
import signal
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


class Process:
    """A forked process that may run still.

    Args:
        body: What it does; returns its exit code.
        cwd: The folder that it works in; by default that of the tests.
    """

    def __init__(self, body: Callable[[], int], cwd: Path | None = None) -> None:
        _import()
        sys.stdout.flush()
        sys.stderr.flush()
        self._files = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115  # closed by ``wait``
        self._status: int | None = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn when a process with threads forks
            self.pid = os.fork()
        if self.pid == 0:
            _become(body, cwd, *(file.fileno() for file in self._files))

    def poll(self) -> int | None:
        """Return the exit code, minus the number of a signal that ended it; None while it runs."""
        if self._status is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = status if ended else None
        return None if self._status is None else os.waitstatus_to_exitcode(self._status)

    def send(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def wait(self) -> Done:
        """Wait until it ends."""
        if self._status is None:
            self._status = os.waitpid(self.pid, 0)[1]
        texts = []
        for file in self._files:
            with file:
                file.seek(0)
                texts.append(file.read().decode())
        return Done(os.waitstatus_to_exitcode(self._status), *texts)


def start(*argv: object, cwd: Path | None = None) -> Process:
    """Start a ``nasreg`` command in a folder."""
    return Process(lambda: main(list(map(str, argv))), cwd)


def nasreg(*argv: object, cwd: Path | None = None) -> Done:
    """Run a ``nasreg`` command in a folder."""
    return start(*argv, cwd=cwd).wait()


def script(path: Path, *argv: object, cwd: Path | None = None) -> Done:
    """Run a Python file as ``python PATH ARGV`` would."""

    def run() -> int:
        sys.argv = [str(path), *map(str, argv)]
        sys.path.insert(0, str(path.parent))
        runpy.run_path(str(path), run_name="__main__")
        return 0

    return Process(run, cwd).wait()


def call(function: Callable[[], int | None], cwd: Path | None = None) -> Done:
    """Call a function that returns an exit code; None is 0."""
    return Process(lambda: function() or 0, cwd).wait()


@functools.cache
def _import() -> None:
    for name in IMPORTED:
        importlib.import_module(name)


def _become(body: Callable[[], int], cwd: Path | None, out: int, err: int) -> None:
    """Be the new process, which ends here and never returns to the tests."""
    code = 1
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the workers of pytest-xdist ignore it
    try:
        with open(os.devnull, encoding="utf-8") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
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
        os._exit(code)  # without what pytest does at its end


def check(done: Done) -> Done:
    """Check that a process ended well, and return it."""
    if done.code:
        pytest.fail(f"exit code {done.code}\n{done.out}\n{done.err}")
    return done
