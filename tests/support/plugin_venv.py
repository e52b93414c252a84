"""A real virtual environment with really built and installed plugins, for tests of discovery.

It takes torch and the like from the environment that the tests run in, but not what is installed there editable, so
that nasreg itself is the wheel too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

SPEC = """
from nasreg.hookspecs import hookimpl
from nasreg.specs import AlgorithmSpec, MutatorSpec, Preset, TrainerSpec

def spec(
    name, plugin_api=1, factory="nasreg_darts.trainer:DartsTrainer", config="nasreg_darts.config:DartsTrainerConfig"
):
    return AlgorithmSpec(
        name=name, summary="for a test", plugin_api=plugin_api, family="one-shot", primitives={"cell", "layer"},
        mutator=MutatorSpec(
            factory="nasreg_darts.mutator:DartsMutator", config="nasreg_darts.config:DartsMutatorConfig"
        ),
        trainer=TrainerSpec(factory=factory, config=config),
        presets={"only": Preset(summary="the only one", trainer={"epochs": 1})}, default_preset="only",
    )
"""
"""What the source of a plugin can begin with."""


def build(source: Path, wheels: Path) -> Path:
    """Build a wheel of a package, with its own build backend and no network; return its path."""
    before = set(wheels.glob("*.whl"))
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(source)]
    subprocess.run(words, check=True, capture_output=True)
    return next(iter(set(wheels.glob("*.whl")) - before))


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
[project.entry-points.nasreg]
{entry_point or name} = "{module}"
[tool.hatch.build.targets.wheel]
include = ["{module}.py"]
"""
    )
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

    def uninstall(self, name: str) -> None:
        """Uninstall a distribution."""
        words = ["-m", "pip", "--python", str(self.python), "uninstall", "--quiet", "--yes", name]
        subprocess.run([sys.executable, *words], check=True)

    def environment(self) -> dict[str, str]:
        """Return the variables of a shell in which it is activated."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("NASREG", "PYTHONPATH"))}
        return {**clean, "PATH": f"{self.folder / 'bin'}{os.pathsep}{clean['PATH']}", "VIRTUAL_ENV": str(self.folder)}

    def run(
        self, *words: object, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the installed ``nasreg`` command."""
        return subprocess.run(
            [str(self.folder / "bin/nasreg"), *map(str, words)],
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
