"""The trials of a search in short, for people: counts, scores, the best, and why others failed or were rejected.

The file of trials is read once, and of its lines only what is shown is kept: there may be 100,000 trials. No torch.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, Field, ValidationError

from nasreg.errors import RunDirectoryError
from nasreg.runs.front import TrialFront, without_repetitions
from nasreg.specs.formatting import plural
from nasreg.specs.metrics import MetricSpec
from nasreg.specs.trial import MACS, PARAMETERS, TrialStatus, best_first_key

MAX_REASONS = 5
"""Reasons that are named; the others are counted."""


class _Line(BaseModel):
    """A line of the file of trials, as far as it is summarised."""

    trial: int
    status: TrialStatus
    score: float | None = None
    fidelity: float = 1.0
    reason: str | None = None
    seconds: float = 0.0
    metrics: dict[str, float | None] = Field(default_factory=dict)


@dataclass(frozen=True)
class Reason:
    """A reason for which trials failed or were rejected."""

    text: str
    """The reason of one of them; those of the others differ at most in numbers."""
    count: int
    varies: bool
    """Whether they do."""


class Scored(NamedTuple):
    """A trial with a score."""

    trial: int
    """Its id."""
    score: float
    fidelity: float = 1.0


@dataclass(frozen=True)
class TrialSummary:
    """The trials of a search in short."""

    objective: MetricSpec
    """The metric that the trials are scored by."""
    counts: Mapping[TrialStatus, int]
    best: Sequence[Mapping[str, Any]]
    """The records of the best trials, the best first; failed ones last."""
    scores: Sequence[Scored]
    """The trials that have a score, by id."""
    failed: Sequence[int]
    """Ids of the trials that failed."""
    reasons: Mapping[TrialStatus, Sequence[Reason]]
    """Why trials failed or were rejected, the most frequent reason first."""
    objectives: Sequence[MetricSpec]
    """What is optimised beside the score; empty in a search with one objective."""
    points: Sequence[tuple[float, ...]]
    """Of each trial that has a value of every objective the score, then the others; empty with one objective."""
    front: Sequence[Mapping[str, Any]]
    """The records of the trials on the Pareto front, the best score first; empty with one objective."""
    seconds: float
    """Sum of the times of all evaluations."""
    longest: float
    """Time of the longest evaluation."""

    @property
    def evaluated(self) -> int:
        """Number of trials that were evaluated, those that failed included."""
        return len(self.scores) + len(self.failed)

    @property
    def notes(self) -> list[str]:
        """Notes such as ``3 rejected: 93,560 parameters above 50,000 and similar (2), it was proposed before (1)``."""
        return [
            f"{self.counts[status]:,} {status}: {_reasons_text(self.reasons[status])}"
            for status in ("failed", "rejected")
            if self.counts[status]
        ]

    def so_far_best(self) -> list[Scored]:
        """Return each trial that was the best so far when it ended, by id; its score is of the highest fidelity."""
        found: list[Scored] = []
        for each in self.scores:
            if not found or self._key(each) < self._key(found[-1]):
                found.append(each)
        return found

    def _key(self, each: Scored) -> tuple[bool, float, float]:
        return best_first_key(self.objective, each.score, each.fidelity)


def counts_text(counts: Mapping[TrialStatus, int]) -> str:
    """Return the number of trials of each status, such as ``20 trials done, 2 failed``."""
    others = [f"{counts[status]:,} {status}" for status in ("failed", "rejected") if counts[status]]
    return ", ".join([f"{plural(counts['done'], 'trial')} done", *others])


def metric_text(metric: MetricSpec, value: float | None) -> str:
    """Return a value as ``metric.format`` does, but a count in full, such as ``93,560`` parameters."""
    is_count = isinstance(value, int) or metric.name in (PARAMETERS.name, MACS.name)
    if value is None or not math.isfinite(value) or not is_count or metric.unit == "%":
        return metric.format(value)
    return f"{value:,.0f} {metric.unit}".rstrip()


def count_trials(records: Sequence[Mapping[str, Any]]) -> Mapping[TrialStatus, int]:
    """Return the number of records of each status."""
    found = Counter(record["status"] for record in records)
    return {status: found[status] for status in ("done", "failed", "rejected")}


def summarize_trials(
    path: Path, objective: MetricSpec, n_best: int, objectives: Sequence[MetricSpec] = ()
) -> TrialSummary:
    """Summarise a file of trials; a torn last line is skipped, and a file that is missing has no trials.

    Args:
        path: The file.
        objective: The metric that the trials are scored by.
        n_best: Number of records to return of the best trials.
        objectives: What is optimised beside the score.

    Raises:
        RunDirectoryError: The file cannot be read, or a complete line is not the record of a trial.
    """
    counts: Counter[TrialStatus] = Counter()
    best: list[tuple[tuple[bool, float, float], int, bytes]] = []
    scores: list[Scored] = []
    failed: list[int] = []
    reasons: dict[TrialStatus, _Reasons] = {"failed": _Reasons(), "rejected": _Reasons()}
    front: TrialFront[bytes] = TrialFront(objective, objectives)
    points: list[tuple[float, ...]] = []
    seconds = longest = 0.0
    for line, text in _lines(path):
        counts[line.status] += 1
        seconds, longest = seconds + line.seconds, max(longest, line.seconds)
        if line.score is not None:
            scores.append(Scored(line.trial, line.score, line.fidelity))
        else:
            reasons[line.status].add(line.reason or "unknown")
        if objectives and (point := front.values(line.score, line.metrics)):
            points.append(point)
            front.add(line.score, line.metrics, line.fidelity, text)
        if line.status == "failed":
            failed.append(line.trial)
        if line.status != "rejected":
            best.append((best_first_key(objective, line.score, line.fidelity), line.trial, text))
            if len(best) >= 10 * n_best:
                best = sorted(best)[:n_best]
    return TrialSummary(
        objective=objective,
        counts=counts,
        best=[json.loads(text) for _, _, text in sorted(best)[:n_best]],
        scores=sorted(scores),
        failed=sorted(failed),
        reasons={status: found.most_common() for status, found in reasons.items()},
        objectives=objectives,
        points=points,
        front=without_repetitions(json.loads(text) for text in front),
        seconds=seconds,
        longest=longest,
    )


def _lines(path: Path) -> Iterator[tuple[_Line, bytes]]:
    """Yield each complete line of a file of trials, parsed and as it is."""
    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            for number, text in enumerate(file, start=1):
                if text.endswith(b"\n"):
                    yield _parsed(path, number, text), text
    except OSError as error:
        raise RunDirectoryError(f"cannot read {path}: {error}") from error


def _parsed(path: Path, number: int, text: bytes) -> _Line:
    try:
        line = _Line.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = f"{'.'.join(map(str, first['loc']))}: " if first["loc"] else ""
        raise RunDirectoryError(f"{path}, line {number} is not the record of a trial: {place}{first['msg']}") from error
    if (line.status == "done") != (line.score is not None):
        raise RunDirectoryError(f"{path}, line {number} is not the record of a trial: score does not fit to status")
    return line


_NUMBER = re.compile(r"\d[\d.,]*(?:e[-+]?\d+)?")


class _Reasons:
    """Counts reasons; those that differ in numbers only are one."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}
        self._varying: set[str] = set()

    def add(self, text: str) -> None:
        key = _NUMBER.sub("#", text)
        self._counts[key] += 1
        if self._first.setdefault(key, text) != text:
            self._varying.add(key)

    def most_common(self) -> list[Reason]:
        return [Reason(self._first[key], count, key in self._varying) for key, count in self._counts.most_common()]


def _reasons_text(reasons: Sequence[Reason]) -> str:
    named = [f"{each.text}{' and similar' if each.varies else ''}" for each in reasons[:MAX_REASONS]]
    if len(named) == 1:
        return named[0]
    named = [f"{text} ({each.count:,})" for text, each in zip(named, reasons, strict=False)]
    others = sum(each.count for each in reasons[MAX_REASONS:])
    return ", ".join([*named, f"other reasons ({others:,})"] if others else named)
