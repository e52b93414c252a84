"""The table of the trials of a search. Imports what a run has imported: not for commands that only look up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nasreg.cli.output import Output
from nasreg.cli.paths import short
from nasreg.runs import files
from nasreg.runs.directory import RunDirectory
from nasreg.runs.trial_summary import TrialSummary, metric_text, summarize_trials
from nasreg.specs.formatting import format_duration, plural
from nasreg.specs.metrics import MetricSpec
from nasreg.specs.trial import COSTS, FIDELITY

MAX_TRIALS = 20
"""Trials that are listed."""


def print_trials(output: Output, run: RunDirectory) -> None:
    """Print the trials of a multi-trial search, the best first; nothing for a run without trials.

    Raises:
        RunDirectoryError: The trials cannot be read.
    """
    objective = run.objective
    if objective is None:
        return
    summary = summarize_trials(run.path / files.TRIALS, objective, MAX_TRIALS, run.objectives)
    output.table("trials, the best first", _rows(summary.best, objective, COSTS))
    more = summary.evaluated - len(summary.best)
    notes = ([f"{more:,} more"] if more else []) + summary.notes
    if summary.failed:
        notes.append(f"tracebacks are in {short(run.path / files.TRIAL_ERRORS)}")
    for note in [*notes, f"all trials are in {short(run.path / files.TRIALS)}"] if notes else []:
        output.line(f"  {note}")
    if summary.objectives:
        output.line()
        _print_front(output, summary, run)


def _print_front(output: Output, summary: TrialSummary, run: RunDirectory) -> None:
    """Print the Pareto front, the best score first."""
    titles = " and ".join([summary.objective.title, *(metric.title for metric in summary.objectives)])
    if not summary.front:
        output.line(f"no Pareto front: no trial has {titles}")
        return
    shown = summary.front[:MAX_TRIALS]
    count = f"{len(summary.front):,} of {plural(len(summary.points), 'trial')}"
    output.table(f"Pareto front of {titles}: {count}", _rows(shown, summary.objective, summary.objectives))
    if len(shown) < len(summary.front):
        output.line(f"  {len(summary.front) - len(shown):,} more")
    file = run.path / files.front_architecture(shown[0]["trial"])
    if file.exists():
        output.line(f"  their architectures are in {short(file.parent)}")


def _rows(
    records: Sequence[Mapping[str, Any]], objective: MetricSpec, metrics: Sequence[MetricSpec]
) -> list[tuple[str, ...]]:
    """Return the rows of a table of trials, its heading first, without columns of metrics that none of them has."""
    costs = [cost for cost in metrics if any(cost.name in each.get("metrics", {}) for each in records)]
    failed = any(each["status"] == "failed" for each in records)
    partial = any("fidelity" in each for each in records)
    heading = ["trial", *([FIDELITY.title] if partial else []), objective.title, *(cost.title for cost in costs)]
    rows: list[tuple[str, ...]] = [(*heading, "time", *([""] if failed else []))]
    for each in records:
        measured = each.get("metrics", {})
        score = objective.format(each["score"]) if "score" in each else "failed"
        texts = [metric_text(cost, measured[cost.name]) if cost.name in measured else "" for cost in costs]
        reason = [each.get("reason", "")] if failed else []
        fidelity = [FIDELITY.format(each.get("fidelity", 1.0))] if partial else []
        rows.append((str(each["trial"]), *fidelity, score, *texts, format_duration(each["seconds"]), *reason))
    return rows
