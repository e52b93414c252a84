"""A virtual environment with real wheels in it: nasreg, and plugins written for a test.

Torch and all else come from the environment of the tests by links, but not what is installed editable there, so that
nasreg itself is the wheel too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hatchling.build

ROOT = Path(__file__).parents[2]

IMPORTS = """
from nasreg.hookspecs import hookimpl
from nasreg.specs import AlgorithmSpec, MutatorSpec, PluginInfo, Preset, RenamedEntry, SpaceEntry, TrainerSpec
"""
"""What the source of a plugin begins with."""

SPEC = f"""{IMPORTS}
@hookimpl
def nasreg_plugin():
    return PluginInfo(api=2)


def spec(name, factory="nasreg_darts.trainer:DartsTrainer", config="nasreg_darts.config:DartsTrainerConfig", **more):
    return AlgorithmSpec(
        name=name, summary="for a test", family="one-shot", primitives={{"cell", "layer"}}, splits={{"arch"}},
        mutator=MutatorSpec(
            factory="nasreg_darts.mutator:DartsMutator", config="nasreg.mutators:SoftmaxMutatorConfig"
        ),
        trainer=TrainerSpec(factory=factory, config=config),
        presets={{"only": Preset(summary="the only one", trainer={{"epochs": 1}})}}, default_preset="only",
        default_space="darts", **more,
    )
"""
"""The same with the version of the contract, and with ``spec``, which makes an algorithm."""


def build(source: Path, wheels: Path) -> Path:
    """Build a wheel of a package by its build backend, hatchling; return its path."""
    before = Path.cwd()
    os.chdir(source)  # where a build backend expects to be called
    try:
        return wheels / hatchling.build.build_wheel(str(wheels))
    finally:
        os.chdir(before)


def write_plugin(folder: Path, name: str, source: str, entry_point: str | None = None) -> Path:
    """Write the source tree of ``nasreg-NAME``, whose module ``nasreg_NAME`` is ``source``."""
    module = f"nasreg_{name.replace('-', '_')}"
    folder.mkdir(parents=True)
    (folder / f"{module}.py").write_text(source)
    (folder / "pyproject.toml").write_text(
        f"""
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "nasreg-{name}"
version = "1.0"
description = "the plugin {name}"
urls = {{ Homepage = "https://example.org/{name}" }}
[project.entry-points.nasreg]
"{entry_point or name}" = "{module}"
[tool.hatch.build.targets.wheel]
include = ["{module}.py"]
"""
    )
    return folder


def unpack(wheel: Path, folder: Path) -> Path:
    """Install a wheel into a folder that is to be on the path of some processes only; return the folder."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)  # our own wheel
    return folder


class PluginVenv:
    """A virtual environment.

    Args:
        folder: Where to make it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.python = folder / "bin" / "python"
        self.site = next((folder / "lib").glob("python*/site-packages"))
        # A folder named in a .pth file joins sys.path, but its own .pth files (editable installs) do not count.
        shared = folder / "shared"
        shared.mkdir()
        for path in Path(sysconfig.get_path("purelib")).iterdir():
            if not path.name.startswith(("nasreg", "_nasreg", "__editable__")):
                (shared / path.name).symlink_to(path)
        (self.site / "shared.pth").write_text(f"{shared}\n")

    def install(self, *wheels: Path) -> None:
        """Install wheels, without what they depend on."""
        words = ["-m", "pip", "--python", str(self.python), "install", "--quiet", "--no-deps", "--no-index"]
        subprocess.run([sys.executable, *words, *map(str, wheels)], check=True)

    def environment(self) -> dict[str, str]:
        """Return the variables of a shell in which it is activated."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("NASREG", "PYTHONPATH"))}
        return {**clean, "PATH": f"{self.folder / 'bin'}{os.pathsep}{clean['PATH']}", "VIRTUAL_ENV": str(self.folder)}

    def run(
        self, *words: object, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the installed ``nasreg`` command."""
        return self._run([self.folder / "bin/nasreg", *words], env, cwd)

    def run_python(self, code: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program."""
        return self._run([self.python, "-c", code], env, None)

    def _run(
        self, command: list[object], env: Mapping[str, str] | None, cwd: Path | None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*map(str, command)],
            capture_output=True,
            text=True,
            check=False,
            env={**self.environment(), **(env or {})},
            cwd=cwd or self.folder,
        )

    def json(self, *words: object, **more: Any) -> Any:
        """Run a command with ``--json`` and return what it printed."""
        done = self.run(*words, "--json", **more)
        return json.loads(done.stdout)
