"""What can be done with a run, as words to type: the report lists them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import NamedTuple

from nasreg.resolve import OBJECT
from nasreg.specs.retrain import RetrainSpec
from nasreg.specs.run import RunSpec


class Command(NamedTuple):
    """Something to type, and what it is for."""

    words: str
    purpose: str


def next_commands(run_dir: Path, spec: RunSpec | RetrainSpec, state: str) -> list[Command]:
    """Return the commands that make sense for a run as it is now.

    Args:
        run_dir: The run directory.
        spec: What was run.
        state: ``running``, ``interrupted``, ``failed``, ``done``, or ``unknown``.
    """
    commands = [Command(_nasreg("show", run_dir), "the architecture in words, and this page anew")]
    if state == "done":
        return [*commands, *_after(run_dir, spec)]
    if any(chosen.name.startswith(OBJECT) for chosen in (spec.space, spec.dataset)):
        function = "search" if isinstance(spec, RunSpec) else "retrain"
        again = f"nasreg.{function}(..., out={str(run_dir)!r}, resume=True)"
        return [*commands, Command(again, "go on, from Python: with the same arguments as before")]
    return [*commands, Command(_nasreg("resume", run_dir), "go on from the last checkpoint")]


def _after(run_dir: Path, spec: RunSpec | RetrainSpec) -> list[Command]:
    if spec.space.name.startswith(OBJECT):
        return []
    if isinstance(spec, RunSpec):
        return [Command(_nasreg("retrain", run_dir), "train the network of the architecture from the start")]
    return [
        Command(_nasreg("evaluate", run_dir), "measure the trained network, also on other images"),
        Command(_nasreg("profile", run_dir), "what it costs: parameters, multiply-accumulates, memory, latency"),
        Command(_nasreg("export", run_dir), "write it for torch.export, or as ONNX or safetensors"),
    ]


def _nasreg(command: str, run_dir: Path) -> str:
    return shlex.join(["nasreg", command, str(run_dir)])
