"""The records of trials: one line of JSON each, in an append-only file. Imports no torch.

A line is written when a trial ends, so that nothing is lost whenever the process is killed; a torn last line is dropped
when the file is opened again. With several workers lines are in the order in which trials ended, not in that of ids.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nasreg.errors import RunDirectoryError
from nasreg.runs.writing import LineFile
from nasreg.specs.architecture import Architecture
from nasreg.specs.finite import finite
from nasreg.specs.metrics import MetricSpec
from nasreg.specs.trial import Proposal, Score, Trial, best_first_key


def trial_record(trial: Trial) -> dict[str, Any]:
    """Return a trial as JSON-able data, without what is empty."""
    proposal, score = trial.proposal, trial.score
    record: dict[str, Any] = {"trial": trial.id, "status": trial.status}
    if score is not None:
        record["score"] = score.value
    if metrics := trial.metrics:
        record["metrics"] = finite(metrics)
    if trial.reason is not None:
        record["reason"] = trial.reason
    if proposal.parent is not None:
        record["parent"] = proposal.parent
    if proposal.fidelity != 1:
        record["fidelity"] = proposal.fidelity
    if proposal.options:
        record["options"] = dict(proposal.options)
    record["seconds"] = round(trial.seconds, 6)
    record["observed"] = trial.observed
    record["architecture"] = proposal.architecture.decisions
    return record


def read_record(record: Mapping[str, Any], fingerprint: str, *, higher_is_better: bool) -> Trial:
    """Return the trial of a record.

    Args:
        record: What ``trial_record`` returned, after JSON.
        fingerprint: That of the search space.
        higher_is_better: Direction of the score.
    """
    architecture = Architecture.model_validate({"fingerprint": fingerprint, "decisions": record["architecture"]})
    fidelity, options = record.get("fidelity", 1.0), record.get("options", {})
    proposal = Proposal(record["trial"], architecture, record.get("parent"), fidelity, options)
    metrics = {name: math.nan if value is None else value for name, value in record.get("metrics", {}).items()}
    score = Score(record["score"], metrics, higher_is_better) if "score" in record else None
    costs = {} if score is not None else metrics
    rest = (record.get("reason"), record["seconds"], costs, record["observed"])
    return Trial(proposal, record["status"], score, *rest)


class TrialFile:
    """The file of a search's trials.

    Args:
        path: The file; it is made if it does not exist.

    Raises:
        StorageError: It cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._file = LineFile(path)
        self._file.truncate(_whole(path))

    def append(self, trial: Trial) -> None:
        """Write a trial; it is with the operating system when this returns, and survives the death of the process.

        Raises:
            StorageError: It cannot be written, such as on a full disk.
        """
        self._file.append(json.dumps(trial_record(trial), separators=(",", ":")).encode())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _whole(path: Path) -> int:
    """Return the size of a file without a last line that is not complete."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        while end:
            start = max(0, end - 2**16)
            file.seek(start)
            place = file.read(end - start).rfind(b"\n")
            if place >= 0:
                return start + place + 1
            end = start
    return 0


def read_trials(path: Path) -> list[dict[str, Any]]:
    """Return the records in a file of trials, in the order of their ids; a torn last line is skipped.

    Raises:
        RunDirectoryError: The file cannot be read, or a complete line is not the record of a trial.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise RunDirectoryError(f"cannot read {path}: {error}") from error
    records = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise RunDirectoryError(f"{path}, line {number} is not JSON: {error}") from error
        if not isinstance(record, dict) or not isinstance(record.get("trial"), int):
            raise RunDirectoryError(f"{path}, line {number} is not the record of a trial")
        records.append(record)
    return sorted(records, key=lambda each: int(each["trial"]))


def best_first(records: Iterable[Mapping[str, Any]], objective: MetricSpec) -> list[Mapping[str, Any]]:
    """Return records in order, the best first, of equals by id; see ``nasreg.specs.trial.best_first_key``."""

    def key(record: Mapping[str, Any]) -> tuple[Any, ...]:
        return best_first_key(objective, record.get("score"), record.get("fidelity", 1.0)), record["trial"]

    return sorted(records, key=key)
