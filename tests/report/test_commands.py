"""The next commands of a run: complete, quoted for the shell, and only those that will work."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from nasreg.report import next_commands
from nasreg.report.commands import shell_command
from nasreg.specs import Architecture, RetrainSpec, RunSpec

RUN = Path("/tmp/my runs/it's")  # noqa: S108  # only a name


def search(space="darts", dataset="digits"):
    return RunSpec.model_validate(
        {"algorithm": "darts", "space": {"name": space}, "dataset": {"name": dataset}, "mutator": {}, "trainer": {}}
    )


def retraining(space="darts"):
    return RetrainSpec.model_validate(
        {
            "source": "runs/darts",
            "architecture": Architecture(fingerprint="f", decisions={}),
            "space": {"name": space},
            "dataset": {"name": "digits"},
            "trainer": {},
        }
    )


@pytest.mark.parametrize(
    ("spec", "state", "expected"),
    [
        (search(), "done", ["retrain", "show"]),
        (search("package.models:Net"), "done", ["retrain", "show"]),
        (search(), "interrupted", ["resume", "show"]),
        (search(), "failed", ["resume", "show"]),
        (search(space="not a reference"), "unknown", ["resume", "show"]),
        (retraining(), "done", ["evaluate", "profile", "export", "show"]),
        (retraining(), "interrupted", ["resume", "show"]),
    ],
)
def test_commands_for_a_shell(spec, state, expected):
    commands = next_commands(RUN, spec, state)
    assert [shlex.split(command.text) for command in commands] == [["nasreg", name, str(RUN)] for name in expected]
    assert all(command.purpose for command in commands)


@pytest.mark.parametrize(
    ("spec", "state", "first"),
    [
        (search("python:Net"), "done", "nasreg.retrain(result, data)"),
        (search(dataset="python:Data"), "done", f"nasreg.retrain({str(RUN)!r}, data)"),
        (search("python:Net"), "interrupted", f"nasreg.search(..., out={str(RUN)!r}, resume=True)"),
        (search(dataset="python:Data"), "interrupted", f"nasreg.search(..., out={str(RUN)!r}, resume=True)"),
        (retraining("python:Net"), "failed", f"nasreg.retrain(..., out={str(RUN)!r}, resume=True)"),
        (retraining("python:Net"), "done", shell_command("show", RUN)),
    ],
)
def test_a_python_object_needs_python(spec, state, first):
    assert next_commands(RUN, spec, state)[0].text == first
