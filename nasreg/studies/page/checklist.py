"""The 14 points of Lindauer and Hutter (Best Practices for Scientific Research on NAS, arXiv 1909.02453) and a study.

A point is fulfilled where the study itself shows it, partly where it shows some of it, and otherwise left to the
author. The points are in our own words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from nasreg.specs import RunSpec
from nasreg.specs.formatting import plural
from nasreg.specs.study import StudySpec
from nasreg.studies.collection import RunRecord
from nasreg.studies.judging import judge
from nasreg.studies.protocol import Group

State = Literal["fulfilled", "partly", "left to you"]


class Point(NamedTuple):
    """A point of the list."""

    number: int
    text: str
    state: State
    reason: str


def checklist(groups: Sequence[Group], spec: StudySpec | None, baseline: str) -> list[Point]:
    """Return the points, and what a comparison fulfils of them.

    Args:
        groups: The runs that are compared.
        spec: The study; None for runs that existed.
        baseline: Name of random search.
    """
    runs = [run for group in groups for run in group.done]
    searches = [run for run in runs if isinstance(run.spec, RunSpec)]
    rows: list[tuple[str, State, str]] = [
        (
            "code of the training pipelines",
            "partly",
            "every option of the search, of the evaluation and of a retraining is in run.yaml; code of your own is not",
        ),
        ("code of the NAS methods", "left to you", "publish the plugins and their versions, which are listed above"),
        ("code is released without waiting until it is tidy", "left to you", "publish this directory with it"),
        _same_benchmark(groups, searches),
        _ablations(spec),
        _same_protocol(groups, spec),
        _over_resources(searches),
        _against_random(groups, searches, baseline),
        _repeated(groups),
        _tables(searches),
        _confounders(groups),
        (
            "tuning of hyperparameters is reported",
            "left to you",
            "the options are recorded; say how, and on which data, you have chosen those that are no defaults",
        ),
        _end_to_end(searches),
        (
            "all details of the set-up are reported",
            "fulfilled" if spec is not None else "partly",
            "study.yaml, run.yaml, environment.json and the data's fingerprint"
            if spec is not None
            else "run.yaml and environment.json of each run",
        ),
    ]
    return [Point(number, *row) for number, row in enumerate(rows, start=1)]


Row = tuple[str, State, str]


def _ablations(spec: StudySpec | None) -> Row:
    counts = Counter(each.algorithm for each in spec.algorithms) if spec is not None else Counter()
    name, count = counts.most_common(1)[0] if counts else ("", 0)
    if count > 1:
        return "ablation studies", "partly", f"{count} variants of {name} are compared"
    return "ablation studies", "left to you", "nasreg ablate ALGORITHM changes one option at a time"


def _same_benchmark(groups: Sequence[Group], runs: Sequence[RunRecord]) -> Row:
    text = "the same benchmark: data, space and training, not only the same data"
    if not runs:
        return text, "left to you", "nothing is compared"
    if len({group.title.partition(", part ")[0] for group in groups}) < len(groups):
        return text, "partly", "some runs had other data, spaces or evaluators and are in tables of their own"
    return text, "fulfilled", "space, data and evaluator are equal within each table; others are never pooled"


def _same_protocol(groups: Sequence[Group], spec: StudySpec | None) -> Row:
    text = "the same evaluation protocol"
    names = {"max_trials", "max_seconds", "options of the data", "device", "batch_size"}
    differing = sorted({each.name for group in groups for each in group.differences} & (names - {"batch_size"}))
    if differing:
        return text, "partly", f"not equal: {', '.join(differing)}; see the protocol"
    retrained = spec is not None and spec.retrain is not None
    more = ", and what they find is retrained by one recipe" if retrained else "; add --retrain for test accuracies"
    return text, "fulfilled", f"one evaluator, split and budget for all{more}"


def _over_resources(runs: Sequence[RunRecord]) -> Row:
    text = "performance as a function of the resources"
    if any(len(run.curve) > 1 for run in runs):
        return text, "fulfilled", "the best so far over evaluations and over time"
    return text, "left to you", "the runs have no curve"


def _against_random(groups: Sequence[Group], runs: Sequence[RunRecord], baseline: str) -> Row:
    text = "comparison with random sampling and with random search"
    known = {run.label for run in runs if isinstance(run.spec, RunSpec) and run.spec.algorithm_title == baseline}
    if groups and all(known & set(group.labels) for group in groups):
        reason = (
            "random search with the same budget is in every table, and below it what one random architecture reaches"
        )
        return text, "fulfilled", reason
    return text, "left to you", "random search is not among the algorithms"


def _repeated(groups: Sequence[Group]) -> Row:
    text = "several runs with different seeds"
    fewest = min((len(group.of(label)) for group in groups for label in group.labels), default=0)
    if fewest < 2:
        return text, "left to you", f"{plural(fewest, 'seed')} at least; more with --seeds"
    if all(judge(group).can_tell for group in groups if len(group.labels) > 1):
        return text, "fulfilled", f"{fewest} seeds or more, with intervals and tests"
    return text, "partly", f"{fewest} seeds are too few for a test to tell anything; more with --seeds"


def _tables(runs: Sequence[RunRecord]) -> Row:
    text = "tabular or surrogate benchmarks where there are any"
    if runs and all(run.simulated is not None for run in runs if not run.one_shot):
        return text, "fulfilled", "the evaluations are looked up in a table"
    return text, "left to you", "the evaluations were computed; a table would allow more seeds"


def _confounders(groups: Sequence[Group]) -> Row:
    text = "confounding factors are controlled"
    differing = sorted({each.name for group in groups for each in group.differences})
    if not differing:
        return text, "fulfilled", "versions, machine, threads, device and options were the same in all runs"
    return text, "partly", f"not the same in all runs: {', '.join(differing)}"


def _end_to_end(runs: Sequence[RunRecord]) -> Row:
    text = "time of the whole method, from the start to the final network"
    if runs and all(run.retrain_seconds is not None for run in runs):
        return text, "fulfilled", "search and retraining, in the table of costs; add the time of tuning"
    return text, "partly", "the search is in the table of costs; add final training (--retrain) and tuning"
