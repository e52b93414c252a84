"""The commands that make sense for a run as it is now; the page of the run lists them."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from nasreg.config.notation import recorded_entry
from nasreg.errors import ConfigError
from nasreg.specs.entries import SpaceEntry
from nasreg.specs.references import ObjectRef, parse_reference
from nasreg.specs.retrain import RetrainSpec
from nasreg.specs.run import RunSpec


class Command(NamedTuple):
    """A command for a shell, or a call for Python, and its purpose."""

    text: str
    """The command, quoted where a path needs it."""
    purpose: str


def next_commands(run_dir: Path, spec: RunSpec | RetrainSpec, state: str) -> list[Command]:
    """Return the commands that make sense for a run as it is now, the most useful first.

    Args:
        run_dir: The run directory.
        spec: The spec of the run.
        state: ``running``, ``interrupted``, ``failed``, ``done``, or ``unknown``.
    """
    show = Command(shell_command("show", run_dir), "print the architecture, and write this page again")
    first = _after(run_dir, spec) if state == "done" else [_resume(run_dir, spec)]
    return [*first, show]


def shell_command(command: str, run_dir: Path | str) -> str:
    """Return a command of ``nasreg`` for a run directory, quoted for the shell.

    Args:
        command: Name of the command, such as ``resume``.
        run_dir: The run directory.
    """
    return shlex.join(["nasreg", command, str(run_dir)])


def _resume(run_dir: Path, spec: RunSpec | RetrainSpec) -> Command:
    if any(map(_is_object, (spec.space.name, spec.dataset.name))):
        function = "search" if isinstance(spec, RunSpec) else "retrain"
        call = f"nasreg.{function}(..., out={str(run_dir)!r}, resume=True)"
        return Command(call, "resume in Python, with the arguments of the first call")
    trials = isinstance(spec, RunSpec) and spec.evaluator is not None
    purpose = "resume after the recorded trials" if trials else "resume from the last checkpoint"
    return Command(shell_command("resume", run_dir), purpose)


def _after(run_dir: Path, spec: RunSpec | RetrainSpec) -> list[Command]:
    retrain = "train the network of the architecture from scratch: its metrics on the test set are the ones to report"
    if isinstance(spec, RunSpec):
        if (entry := _entry(spec.space.name)) is not None and not entry.network:
            return []
        if _is_object(spec.space.name):
            return [Command("nasreg.retrain(result, data)", f"{retrain}; in Python, with the result of the search")]
        if _is_object(spec.dataset.name):
            return [Command(f"nasreg.retrain({str(run_dir)!r}, data)", f"{retrain}; in Python, with the same data")]
        return [Command(shell_command("retrain", run_dir), retrain)]
    if _is_object(spec.space.name):
        return []
    return [
        Command(shell_command("evaluate", run_dir), "evaluate the trained network, on other images too"),
        Command(shell_command("profile", run_dir), "count parameters and MACs, measure memory and latency"),
        Command(shell_command("export", run_dir), "export the network for torch.export, or as ONNX or safetensors"),
    ]


def _entry(name: str) -> SpaceEntry | None:
    with suppress(ConfigError):  # as below
        return recorded_entry(name)
    return None


def _is_object(name: str) -> bool:
    with suppress(ConfigError):  # run.yaml may have been edited; that is no reason to write no page
        return isinstance(parse_reference(name), ObjectRef)
    return False
