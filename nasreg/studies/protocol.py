"""Which runs may be compared with each other, and what differs between those that may. Imports no torch.

Runs of another space, other data, another evaluator or another metric answer another question: they are in a table of
their own. What else differs, such as the machine, is shown.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nasreg.specs import MetricSpec, RetrainSpec, RunSpec
from nasreg.specs.formatting import option_text, shorten
from nasreg.studies.collection import RunRecord

_FRACTIONS = ("arch_fraction", "validation_fraction")
MAX_VALUES = 4


@dataclass(frozen=True)
class Difference:
    """Something that is not the same in all runs of a group."""

    name: str
    values: Mapping[str, Sequence[str]]
    """Value -> labels of the algorithms that have it."""

    @property
    def text(self) -> str:
        """The difference for people."""
        shown = [f"{value} ({', '.join(labels)})" for value, labels in list(self.values.items())[:MAX_VALUES]]
        more = len(self.values) - len(shown)
        return f"{self.name}: {'; '.join(shown)}{f'; {more} more' if more > 0 else ''}"


@dataclass(frozen=True)
class Group:
    """Runs that may be compared: of one space, one data set, one evaluator, one metric."""

    title: str
    objective: MetricSpec
    runs: Sequence[RunRecord]
    differences: Sequence[Difference]

    @property
    def labels(self) -> list[str]:
        """The algorithms, in the order in which they were given."""
        return list(dict.fromkeys(run.label for run in self.runs))

    @property
    def done(self) -> list[RunRecord]:
        """The runs that have a result."""
        return [run for run in self.runs if run.done]

    def of(self, label: str) -> list[RunRecord]:
        """Return the runs of an algorithm that have a result, by seed."""
        return sorted((run for run in self.done if run.label == label), key=lambda run: run.seed)


def groups_of(runs: Sequence[RunRecord]) -> tuple[list[Group], list[RunRecord]]:
    """Return the groups of runs that may be compared, and the runs that are in none, since they have no result.

    Where one problem of a study falls apart, such as with a run on other images, each part has a number.
    """
    found: dict[str, list[RunRecord]] = {}
    without = [run for run in runs if run.objective is None or run.spec is None]
    for run in runs:
        if run.objective is not None and run.spec is not None:
            found.setdefault(_identity(run), []).append(run)
    titles = [members[0].problem for members in found.values()]
    named = []
    for number, (title, members) in enumerate(zip(titles, found.values(), strict=True)):
        metric = members[0].objective
        if metric is None:
            continue
        same = titles.count(title)
        part = "" if same == 1 else f", part {titles[: number + 1].count(title)} of {same}: {_distinction(members[0])}"
        named.append(Group(f"{title}{part}", metric, members, _differences(members)))
    return named, without


def _distinction(run: RunRecord) -> str:
    metric = run.objective.title if run.objective is not None else ""
    return f"{metric} by {run.source}" if run.source else metric


def _identity(run: RunRecord) -> str:
    """Return what has to be equal, as text."""
    spec, objective = run.spec, run.objective
    parts: dict[str, Any] = {
        "problem": run.problem,
        "space": run.space.fingerprint if run.space is not None else None,
        "metric": objective.name if objective is not None else None,
        "source": run.source,
        "evaluator": run.evaluator,
        "images": run.judged_on,
    }
    if spec is not None:
        parts |= {"kind": spec.kind, "task": spec.task, "options": spec.space.options}
    if isinstance(spec, RetrainSpec):
        parts["recipe"] = spec.trainer
    return json.dumps(parts, sort_keys=True, default=str)


def _differences(runs: Sequence[RunRecord]) -> list[Difference]:
    found = [found for name, value in _COMPARED.items() if (found := _difference(name, runs, value)) is not None]
    seeds = Counter((run.label, run.seed) for run in runs if run.done)
    twice: dict[str, list[str]] = {}
    for (label, seed), count in seeds.items():
        if count > 1:
            twice.setdefault(f"{count} runs of seed {seed}", []).append(label)
    return [*found, Difference("runs of the same seed, which are not independent", twice)] if twice else found


def _difference(name: str, runs: Sequence[RunRecord], value: Callable[[RunRecord], Any]) -> Difference | None:
    found: dict[str, list[str]] = {}
    for run in runs:
        known = value(run)
        if known is None:
            continue
        labels = found.setdefault(shorten(known if isinstance(known, str) else option_text(known), 80), [])
        if run.label not in labels:
            labels.append(run.label)
    return Difference(name, found) if len(found) > 1 else None


def _versions(name: str) -> Callable[[RunRecord], Any]:
    return lambda run: run.environment.get("versions", {}).get(name)


def _machine(run: RunRecord) -> str | None:
    machine = run.environment.get("machine")
    return ", ".join(str(value) for value in machine.values()) if machine else None


def _trainer(name: str) -> Callable[[RunRecord], Any]:
    return lambda run: run.spec.trainer.get(name) if run.spec is not None else None


def _data_options(run: RunRecord) -> str | None:
    if run.spec is None or run.data is None:
        return None
    options = {k: v for k, v in run.spec.dataset.options.items() if k not in _FRACTIONS}
    return ", ".join(f"{name}={option_text(value)}" for name, value in options.items())


_COMPARED: dict[str, Callable[[RunRecord], Any]] = {
    "python": _versions("python"),
    "nasreg": _versions("nasreg"),
    "torch": _versions("torch"),
    "machine": _machine,
    "threads": lambda run: run.environment.get("threads"),
    "device": lambda run: run.spec.device if run.spec is not None else None,
    "workers": lambda run: run.spec.workers if isinstance(run.spec, RunSpec) and run.spec.evaluator else None,
    "max_trials": _trainer("max_trials"),
    "max_seconds": _trainer("max_seconds"),
    "epochs of the training": _trainer("epochs"),
    "batch_size": _trainer("batch_size"),
    "options of the data": _data_options,
    "images": lambda run: run.data,
}
"""What is shown where it differs, and how it is read from a run."""
