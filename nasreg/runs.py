"""The run directory: its layout, atomic writes, and reading it back. Imports no torch.

::

    run.yaml            the RunSpec or RetrainSpec, nothing left out
    environment.json    versions, machine, command
    data.json           sizes of the parts, normalisation, fingerprint of the data
    space.json          the SearchSpaceSpec
    status.json         running, interrupted, failed or done; how often resumed; peak memory
    metrics.jsonl       one line per step and per epoch
    architectures/      what would have been derived after each epoch
    checkpoint.pt       the last whole checkpoint; checkpoint.previous.pt the one before
    architecture.json   the result, with genotype.txt (cell spaces) and cells.svg
    best.safetensors    of a retraining: the weights of its best epoch; last.safetensors those of the last
    cost.json           parameters, multiply-accumulates, memory and latency of the network that was found
    index.html          the report
    tensorboard/        where it was asked for
    lock                held by the process that works on the run
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from nasreg.errors import RunDirectoryError
from nasreg.specs.architecture import Architecture
from nasreg.specs.retrain import RetrainSpec
from nasreg.specs.run import RunSpec, load_yaml
from nasreg.specs.space import SearchSpaceSpec

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: there runs are not locked
    fcntl = None


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears under its name only when it is whole and on disk; after an error nothing is left.

    Args:
        path: The name; its folder exists.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


class RunDirectory:
    """A run on disk, or the place where one will be.

    Args:
        path: The directory.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()

    def check_free(self) -> None:
        """Check that a new run can be made here, without making anything.

        Raises:
            RunDirectoryError: It is not an empty directory, or cannot be made.
        """
        path = self.path
        if path.is_dir() and any(path.iterdir()):
            hint = ""
            if (path / "run.yaml").exists():
                done = self.status["state"] == "done"
                hint = f", or see what was found with: nasreg show {path}" if done else f", or: nasreg resume {path}"
            raise RunDirectoryError(f"run directory {path} is not empty: choose another with --out{hint}")
        parent = next(folder for folder in [path, *path.parents] if folder.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise RunDirectoryError(f"cannot make {path} in {parent}: choose another directory with --out")

    def create(self, spec: RunSpec | RetrainSpec, space: SearchSpaceSpec, data: dict[str, Any]) -> None:
        """Write what a new run starts with; ``run.yaml`` comes last and makes it a run."""
        self.write_json("status.json", {"state": "running", "resumed": 0})
        self.write_text("space.json", space.to_json())
        self.write_json("data.json", data)
        self.write_text("run.yaml", spec.to_yaml())

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes out of the run for the time of a block; the system lifts the lock of a dead process.

        Raises:
            RunDirectoryError: Another process works in it, or the directory cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / "lock").open("w")
        except OSError as error:
            raise RunDirectoryError(f"cannot write to run directory {self.path}: {error}") from error
        with file:
            if fcntl is not None:
                try:
                    # Not flock: loader processes would inherit it, and hold it a while after the run was killed.
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    raise RunDirectoryError(f"run {self.path} is going on in another process") from error
            for part in self.path.rglob(".*.part"):  # what a killed process was about to write
                part.unlink()
            yield

    def write_text(self, name: str, text: str) -> Path:
        """Write a file of the run atomically."""
        (self.path / name).parent.mkdir(exist_ok=True)
        with atomic_write(self.path / name) as file:
            file.write(text.encode())
        return self.path / name

    def write_json(self, name: str, value: Any) -> Path:
        """Write a JSON file of the run atomically."""
        return self.write_text(name, json.dumps(value, indent=2) + "\n")

    def read_text(self, name: str) -> str:
        """Read a file of the run.

        Raises:
            RunDirectoryError: It is missing or unreadable.
        """
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RunDirectoryError(f"cannot read {self.path / name}: {error}") from error

    def read_json(self, name: str) -> Any:
        """Read a JSON file of the run.

        Raises:
            RunDirectoryError: It is missing or not JSON.
        """
        try:
            return json.loads(self.read_text(name))
        except json.JSONDecodeError as error:
            raise RunDirectoryError(f"{self.path / name} is not JSON: {error}") from error

    def _check_is_run(self) -> None:
        if not self.path.is_dir():
            raise RunDirectoryError(f"there is no run directory {self.path}")
        if not (self.path / "run.yaml").is_file():
            raise RunDirectoryError(f"{self.path} is not a run directory: it has no run.yaml")

    @property
    def spec(self) -> RunSpec | RetrainSpec:
        """What determines the run: a search, or a retraining.

        Raises:
            RunDirectoryError: The directory is missing or no run.
            ConfigError: The file is malformed.
        """
        self._check_is_run()
        text, source = self.read_text("run.yaml"), str(self.path / "run.yaml")
        model = RetrainSpec if load_yaml(text, source).get("kind") == "retrain" else RunSpec
        return model.from_yaml(text, source)

    @property
    def space(self) -> SearchSpaceSpec:
        """The search space.

        Raises:
            RunDirectoryError: It is missing.
            SpaceError: It is malformed.
        """
        return SearchSpaceSpec.from_json(self.read_text("space.json"), str(self.path / "space.json"))

    @property
    def architecture(self) -> Architecture:
        """The architecture that the run ended with.

        Raises:
            RunDirectoryError: The run has not ended.
            ArchitectureError: The file is malformed.
        """
        path = self.path / "architecture.json"
        if not path.exists():
            self._check_is_run()
            raise RunDirectoryError(f"{self.path} has no architecture yet: nasreg resume {self.path}")
        return Architecture.load(path)

    @property
    def status(self) -> dict[str, Any]:
        """What ``set_status`` wrote.

        Raises:
            RunDirectoryError: The directory is missing or no run, or the file is missing or malformed.
        """
        self._check_is_run()
        status = self.read_json("status.json")
        if not isinstance(status, dict) or not isinstance(status.get("resumed"), int):
            raise RunDirectoryError(f"{self.path / 'status.json'} is not the status of a run")
        return status

    def set_status(self, state: str, **more: Any) -> None:
        """Note how the run stands: running, interrupted, failed or done."""
        self.write_json("status.json", {**self.status, "state": state, **more})
