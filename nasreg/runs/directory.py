"""The run directory: its files and reading them back; ``nasreg.runs.files`` names them. Imports no torch."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nasreg.errors import ArchitectureError, RunDirectoryError, StorageError
from nasreg.runs import files
from nasreg.runs.front import pareto_front
from nasreg.runs.launch import launched
from nasreg.runs.lock import locked
from nasreg.runs.trials import read_trials
from nasreg.runs.writing import atomic_write
from nasreg.specs.architecture import Architecture
from nasreg.specs.finite import finite
from nasreg.specs.metrics import Fact, MetricSpec
from nasreg.specs.retrain import RetrainSpec
from nasreg.specs.run import RunSpec, load_yaml
from nasreg.specs.space import SearchSpaceSpec


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
        launch = launched() if command == "resume" else None
        program = ("nasreg",) if launch is None else launch.command
        return shlex.join([*program, command, str(self.path), *more])

    def check_free(self) -> None:
        """Check that a new run can be created here, without creating anything.

        Raises:
            RunDirectoryError: It is not an empty directory, or cannot be made.
        """
        path = self.path
        if path.is_dir() and self._contents():
            hint = ""
            if (path / files.RUN).exists():
                done = self.status["state"] == "done"
                hint = f", or see its result: {self.command('show')}" if done else f", or: {self.command('resume')}"
            raise RunDirectoryError(f"run directory {path} is not empty: choose another with --out{hint}")
        parent = next(folder for folder in [path, *path.parents] if folder.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise RunDirectoryError(f"cannot make {path} in {parent}: choose another directory with --out")

    def _contents(self) -> list[Path]:
        """Return what is in the directory, without the lock: that of a run whose first files could not be written."""
        return [path for path in self.path.iterdir() if path.name != files.LOCK]

    def check_still_free(self) -> None:
        """Check again, under the lock, what ``check_free`` checked.

        Raises:
            RunDirectoryError: Another process wrote into it since then.
        """
        if self._contents():
            raise RunDirectoryError(f"another run was made in {self.path} meanwhile: choose another with --out")

    def create(
        self,
        spec: RunSpec | RetrainSpec,
        space: SearchSpaceSpec,
        data: dict[str, Any],
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        """Write the files that a new run starts with, under its lock; ``run.yaml`` comes last and makes it a run.

        Where they cannot be written, nothing is left.

        Args:
            spec: The run.
            space: Its search space.
            data: What is known of its data.
            begin: Writes more files.

        Raises:
            RunDirectoryError: Another process wrote into the directory since ``check_free``.
            StorageError: There is no space.
        """
        self.check_still_free()
        try:
            self.write_json(files.STATUS, {"state": "running", "resumed": 0})
            self.write_text(files.SPACE, space.to_json())
            self.write_json(files.DATA, data)
            begin()
            self.write_spec(spec)
        except BaseException:
            for path in self._contents():
                with contextlib.suppress(OSError):
                    path.unlink()
            raise

    def lock(self) -> AbstractContextManager[str | None]:
        """Lock the run against other processes and threads for the time of a block; see ``nasreg.runs.lock``.

        The value of the context is None, or a notice for the user: that the file system has no locks, so that the run
        is not protected.

        Raises:
            RunDirectoryError: Another process works in it, or the directory cannot be made.
        """
        return locked(self.path)

    def write_text(self, name: str, text: str) -> Path:
        """Write a file of the run atomically."""
        (self.path / name).parent.mkdir(exist_ok=True)
        with atomic_write(self.path / name) as file:
            file.write(text.encode())
        return self.path / name

    def write_json(self, name: str, value: Any) -> Path:
        """Write a JSON file of the run atomically; a number that is not finite is null."""
        return self.write_text(name, json.dumps(finite(value), indent=2, allow_nan=False) + "\n")

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

    def read_object(self, name: str, *keys: str) -> dict[str, Any]:
        """Read a JSON file of the run that holds an object with these keys.

        Raises:
            RunDirectoryError: It is missing or damaged.
        """
        value = self.read_json(name)
        if not isinstance(value, dict) or not all(key in value for key in keys):
            what = f"an object with {' and '.join(keys)}" if keys else "an object"
            raise RunDirectoryError(f"{self.path / name} is damaged: it is not {what}; restore it, or start a new run")
        return value

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

    def write_spec(self, spec: RunSpec | RetrainSpec) -> None:
        """Write the resolved spec, and what it is compared with when the run is resumed."""
        self.write_json(files.OPTIONS, spec.model_dump(mode="json"))
        self.write_text(files.RUN, spec.to_yaml())

    @property
    def written_options(self) -> dict[str, Any]:
        """The resolved spec as nasreg wrote it; a user may have edited ``run.yaml`` since.

        Raises:
            RunDirectoryError: The directory is missing or no run, or the file is malformed.
        """
        self._check_is_run()
        return self.read_object(files.OPTIONS)

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
            raise ArchitectureError(f"{error}. Write it again with: {self.command('resume')}") from error

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
    def objectives(self) -> tuple[MetricSpec, ...]:
        """What the search optimises beside that metric; nothing in a search with one objective.

        Raises:
            RunDirectoryError: The file is malformed.
        """
        if not (self.path / files.OBJECTIVE).exists():
            return ()
        try:
            return tuple(MetricSpec.model_validate(each) for each in self.read_json(files.OBJECTIVE)["objectives"])
        except (ValidationError, LookupError, TypeError) as error:
            raise RunDirectoryError(f"{self.path / files.OBJECTIVE} is damaged") from error

    @property
    def front(self) -> list[dict[str, Any]]:
        """The records of the trials on the Pareto front, the best score first; none in a search with one objective.

        Raises:
            RunDirectoryError: They cannot be read.
        """
        objective, objectives = self.objective, self.objectives
        return [] if objective is None or not objectives else pareto_front(self.trials, objective, objectives)

    @property
    def facts(self) -> tuple[Fact, ...]:
        """What the evaluator of a search knows of its result; nothing before its end.

        Raises:
            RunDirectoryError: The file is malformed.
        """
        if not (self.path / files.FACTS).exists():
            return ()
        try:
            return tuple(Fact.model_validate(each) for each in self.read_json(files.FACTS))
        except (ValidationError, TypeError) as error:
            raise RunDirectoryError(f"{self.path / files.FACTS} is damaged") from error

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

    @property
    def unreadable(self) -> list[dict[str, Any]]:
        """The samples that ended the run, since they could not be read: part, index, label, size of the part."""
        found: list[dict[str, Any]] = self.status.get("unreadable", [])
        return found

    def set_status(self, state: str, **more: Any) -> None:
        """Set the state of the run, running, interrupted, failed or done, and more entries of its status."""
        self.write_json(files.STATUS, {**self.status, "state": state, **more})

    def set_final_status(self, state: str, reason: str) -> None:
        """Set the state of a run that ends with an error, as well as that is possible: on a full disk, in place.

        What cannot be written is left as it is, so that it does not hide why the run ended.
        """
        try:
            self.set_status(state, error=reason)
        except StorageError:
            text = json.dumps({**self.status, "state": state, "error": reason}, indent=2) + "\n"
            with contextlib.suppress(OSError), (self.path / files.STATUS).open("r+b") as file:
                file.write(text.encode())
                file.truncate()
        except (OSError, RunDirectoryError):  # the directory is gone, or the status in it is damaged
            return


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
