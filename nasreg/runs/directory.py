"""The run directory: atomic writes, the lock, and reading it back; ``nasreg.runs.files`` names its files. No torch."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from pydantic import ValidationError

from nasreg.errors import ArchitectureError, RunDirectoryError
from nasreg.runs import files
from nasreg.runs.trials import read_trials
from nasreg.specs.architecture import Architecture
from nasreg.specs.metrics import MetricSpec
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
    """Open a file that appears under its name only when it is complete and on disk; after an error nothing is left.

    Args:
        path: The name; its folder exists.

    Raises:
        OSError: It cannot be written; the error names this file.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:  # a user knows the file by its name, not by that of its first half
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def run_of_file(path: Path) -> RunDirectory | None:
    """Return the run that a file belongs to: it lies in the run directory, among the epochs, or in that of a trial."""
    folder = path.absolute().parent
    above = {files.ARCHITECTURES: folder.parent}.get(folder.name)
    above = folder.parent.parent if folder.parent.name == files.TRIAL_DIRECTORIES else above
    found = next((each for each in (folder, above) if each is not None and (each / files.RUN).is_file()), None)
    return RunDirectory(found) if found is not None and path.is_file() else None


class RunDirectory:
    """A run on disk, or the place where one will be.

    Args:
        path: The directory.

    Raises:
        RunDirectoryError: The path is an empty text.
    """

    def __init__(self, path: str | Path) -> None:
        if str(path) == "":
            raise RunDirectoryError("the run directory is an empty text, which would mean the current directory")
        self.path = Path(path).absolute()

    def command(self, command: str, *more: str) -> str:
        """Return a command on this run as a user types it, quoted for a shell."""
        return shlex.join(["nasreg", command, str(self.path), *more])

    def check_free(self) -> None:
        """Check that a new run can be created here, without creating anything.

        Raises:
            RunDirectoryError: It is not an empty directory, or cannot be made.
        """
        path = self.path
        if path.is_dir() and any(path.iterdir()):
            hint = ""
            if (path / files.RUN).exists():
                done = self.status["state"] == "done"
                hint = f", or see its result: {self.command('show')}" if done else f", or: {self.command('resume')}"
            raise RunDirectoryError(f"run directory {path} is not empty: choose another with --out{hint}")
        parent = next(folder for folder in [path, *path.parents] if folder.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise RunDirectoryError(f"cannot make {path} in {parent}: choose another directory with --out")

    def create(self, spec: RunSpec | RetrainSpec, space: SearchSpaceSpec, data: dict[str, Any]) -> None:
        """Write the files that a new run starts with, under its lock; ``run.yaml`` comes last and makes it a run.

        Raises:
            RunDirectoryError: Another process made a run here since ``check_free``.
        """
        if (self.path / files.RUN).exists():
            raise RunDirectoryError(f"another run was made in {self.path} meanwhile: choose another with --out")
        self.write_json(files.STATUS, {"state": "running", "resumed": 0})
        self.write_text(files.SPACE, space.to_json())
        self.write_json(files.DATA, data)
        self.write_text(files.RUN, spec.to_yaml())

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the run against other processes for the time of a block; the lock of a dead process is released.

        Raises:
            RunDirectoryError: Another process works in it, or the directory cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / files.LOCK).open("w")
        except OSError as error:
            raise RunDirectoryError(f"cannot write to run directory {self.path}: {error}") from error
        with file:
            if fcntl is not None:
                try:
                    # Not flock: loader processes would inherit it, and hold it a while after the run was killed.
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    raise RunDirectoryError(f"run {self.path} is in use by another process") from error
            for part in self.path.rglob(".*.part"):  # left by a killed process
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
        if not (self.path / files.RUN).is_file():
            raise RunDirectoryError(f"{self.path} is not a run directory: it has no {files.RUN}")

    @property
    def spec(self) -> RunSpec | RetrainSpec:
        """The resolved spec: of a search, or of a retraining.

        Raises:
            RunDirectoryError: The directory is missing or no run.
            ConfigError: The file is malformed.
        """
        self._check_is_run()
        text, source = self.read_text(files.RUN), str(self.path / files.RUN)
        model = RetrainSpec if load_yaml(text, source).get("kind") == "retrain" else RunSpec
        return model.from_yaml(text, source)

    @property
    def import_path(self) -> str | None:
        """The directory that the user's own space was imported from; None for any other space."""
        path = self.path / files.ENVIRONMENT
        found = self.read_json(files.ENVIRONMENT) if path.exists() else {}
        return found.get("import_path") if isinstance(found, dict) else None

    @property
    def space(self) -> SearchSpaceSpec:
        """The search space.

        Raises:
            RunDirectoryError: It is missing.
            SpaceError: It is malformed.
        """
        return SearchSpaceSpec.from_json(self.read_text(files.SPACE), str(self.path / files.SPACE))

    @property
    def architecture(self) -> Architecture:
        """The architecture that the run ended with.

        Raises:
            RunDirectoryError: The run has not ended.
            ArchitectureError: The file is malformed.
        """
        path = self.path / files.ARCHITECTURE
        if not path.exists():
            self._check_is_run()
            raise RunDirectoryError(f"{self.path} has no architecture yet: {self.command('resume')}")
        try:
            return Architecture.load(path)
        except ArchitectureError as error:
            raise ArchitectureError(f"{error}; write it again with: {self.command('resume')}") from error

    @property
    def has_architecture(self) -> bool:
        """Whether the file of the architecture that the run ended with is there and whole."""
        try:
            Architecture.load(self.path / files.ARCHITECTURE)
        except ArchitectureError:
            return False
        return True

    @property
    def trials(self) -> list[dict[str, Any]]:
        """The records of the trials by id; none in a run that has no trials.

        Raises:
            RunDirectoryError: They cannot be read.
        """
        path = self.path / files.TRIALS
        return read_trials(path) if path.exists() else []

    @property
    def objective(self) -> MetricSpec | None:
        """The metric that the trials are scored by; None in a run that has no trials.

        Raises:
            RunDirectoryError: The file is malformed.
        """
        if not (self.path / files.OBJECTIVE).exists():
            return None
        try:
            return MetricSpec.model_validate(self.read_json(files.OBJECTIVE)["objective"])
        except (ValidationError, LookupError, TypeError) as error:
            raise RunDirectoryError(f"{self.path / files.OBJECTIVE} is damaged") from error

    @property
    def status(self) -> dict[str, Any]:
        """The status, as ``set_status`` wrote it.

        Raises:
            RunDirectoryError: The directory is missing or no run, or the file is missing or malformed.
        """
        self._check_is_run()
        status = self.read_json(files.STATUS)
        if not isinstance(status, dict) or not isinstance(status.get("resumed"), int):
            raise RunDirectoryError(f"{self.path / 'status.json'} is not the status of a run")
        return status

    def set_status(self, state: str, **more: Any) -> None:
        """Set the state of the run, running, interrupted, failed or done, and more entries of its status."""
        self.write_json(files.STATUS, {**self.status, "state": state, **more})


def architecture_in_run(run: RunDirectory, path: Path) -> Architecture:
    """Return the architecture of a run, or of a file in it; ``genotype.txt`` says the same as ``architecture.json``.

    Args:
        run: The run.
        path: The run directory, or a file in it as ``run_of_file`` takes it.

    Raises:
        ArchitectureError: The file is no architecture.
        RunDirectoryError: The run has no architecture yet.
    """
    is_other = path.is_file() and path.suffix == ".json"
    return (
        Architecture.load(path) if is_other and path.absolute() != run.path / files.ARCHITECTURE else run.architecture
    )
