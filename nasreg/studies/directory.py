"""The directory of a study: ``study.yaml``, the runs, the retrainings, the page. Imports no torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from nasreg.errors import ConfigError, RunDirectoryError
from nasreg.runs import files
from nasreg.runs.directory import RunDirectory
from nasreg.specs.study import StudyAlgorithm, StudySpec

RUNS = "runs"
"""The searches: a folder for each problem, in it one for each algorithm, in it one for each seed."""
RETRAINED = "retrained"
"""The retrainings, in the same folders."""
SCORE = "score.json"
"""In the directory of a one-shot search: the score that the evaluator of the study gives what it found."""
RESULTS = "results.json"
"""The results as records."""
PAGE = "index.html"


def is_study(path: Path) -> bool:
    """Return whether a directory is that of a study."""
    return (path / files.STUDY).is_file()


class StudyDirectory:
    """A study on disk, or the place where one will be.

    Args:
        path: The directory.
    """

    def __init__(self, path: str | Path) -> None:
        self._files = RunDirectory(path)
        self.path = self._files.path

    @property
    def exists(self) -> bool:
        """Whether there is a study here."""
        return is_study(self.path)

    @property
    def spec(self) -> StudySpec:
        """What the study consists of.

        Raises:
            RunDirectoryError: The directory is no study.
            ConfigError: The file is malformed.
        """
        if not self.exists:
            raise RunDirectoryError(f"{self.path} is not the directory of a study: it has no {files.STUDY}")
        return StudySpec.from_yaml(self._files.read_text(files.STUDY), str(self.path / files.STUDY))

    def check_free(self) -> None:
        """Check that a new study can be made here.

        Raises:
            RunDirectoryError: It is not an empty directory, or cannot be made.
        """
        self._files.check_free()

    def command(self, command: str, *more: str) -> str:
        """Return a command on this study as a user types it."""
        return self._files.command(command, *more)

    @contextlib.contextmanager
    def lock(self) -> Iterator[str | None]:
        """Lock the study against other processes for the time of a block; see ``RunDirectory.lock``.

        Raises:
            RunDirectoryError: Another process works in it, or it cannot be made.
        """
        with self._files.lock() as notice:
            yield notice

    def write_spec(self, spec: StudySpec) -> None:
        """Write what the study consists of."""
        self._files.write_text(files.STUDY, spec.to_yaml())

    def write_text(self, name: str, text: str) -> Path:
        """Write a file of the study atomically."""
        return self._files.write_text(name, text)

    def write_json(self, name: str, value: object) -> Path:
        """Write a JSON file of the study atomically; a number that is not finite is null."""
        return self._files.write_json(name, value)


def extended(before: StudySpec, now: StudySpec, path: Path) -> StudySpec:
    """Return a study with what is added to it: algorithms, problems and seeds; a larger budget extends its runs.

    What the user does not give stays as it is.

    Args:
        before: The study as it is.
        now: What the user asks for.
        path: Its directory, for errors.

    Raises:
        RunDirectoryError: An algorithm of the same label has other options, or the runs would be others.
    """
    kept = {name: getattr(before, name) for name in StudySpec.model_fields if name not in now.model_fields_set}
    now = now.model_copy(update=kept)
    for name in ("settings", "retrain", "device"):
        old, new = getattr(before, name), getattr(now, name)
        if old != new and not (name == "retrain" and old is None):
            raise RunDirectoryError(
                f"{path} is a study with other {name.replace('retrain', 'options of the retraining')}: choose another"
                " directory with --out"
            )
    known = {each.title: each for each in before.algorithms}
    for each in now.algorithms:
        if known.get(each.title, each) != each:
            raise RunDirectoryError(
                f"{path} has an algorithm {each.title!r} with other options: give this one another label, or choose"
                " another directory with --out"
            )
    return now.model_copy(
        update={
            "title": now.title or before.title,
            "algorithms": _union(before.algorithms, now.algorithms),
            "spaces": _union(before.spaces, now.spaces),
            "datasets": _union(before.datasets, now.datasets),
            "evaluators": _union(before.evaluators, now.evaluators),
            "vary": {**before.vary, **{k: _union(before.vary.get(k, ()), v) for k, v in now.vary.items()}},
            "seeds": _union(before.seeds, now.seeds),
            "baseline": before.baseline or now.baseline,
        }
    )


def _union(before: tuple[object, ...], now: tuple[object, ...]) -> tuple[object, ...]:
    """Return the values of both, each once, in order."""
    found: list[object] = []
    for value in (*before, *now):
        if value not in found:
            found.append(value)
    return tuple(found)


def algorithms_of(texts: tuple[str, ...]) -> tuple[StudyAlgorithm, ...]:
    """Return algorithms by their names.

    Raises:
        ConfigError: There is none, or one is named twice.
    """
    twice = next((text for text in texts if texts.count(text) > 1), None)
    if twice is not None:
        raise ConfigError(f"algorithm {twice!r} is given twice: with other options it needs a label, in a study file")
    return tuple(StudyAlgorithm(algorithm=text) for text in texts)
