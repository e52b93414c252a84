"""The table of the trials of a search. Imports what a run has imported: not for commands that only look up."""

from __future__ import annotations

from nasreg.cli.output import Output
from nasreg.cli.paths import short
from nasreg.runs import files
from nasreg.runs.directory import RunDirectory
from nasreg.runs.trial_summary import metric_text, summarize_trials
from nasreg.specs.formatting import format_duration
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
    summary = summarize_trials(run.path / files.TRIALS, objective, MAX_TRIALS)
    costs = [cost for cost in COSTS if any(cost.name in each.get("metrics", {}) for each in summary.best)]
    failed = any(each["status"] == "failed" for each in summary.best)
    partial = any("fidelity" in each for each in summary.best)
    heading = ["trial", *([FIDELITY.title] if partial else []), objective.title, *(cost.title for cost in costs)]
    rows = [(*heading, "time", *([""] if failed else []))]
    for each in summary.best:
        metrics = each.get("metrics", {})
        score = objective.format(each["score"]) if "score" in each else "failed"
        measured = [metric_text(cost, metrics[cost.name]) if cost.name in metrics else "" for cost in costs]
        reason = [each.get("reason", "")] if failed else []
        fidelity = [FIDELITY.format(each.get("fidelity", 1.0))] if partial else []
        rows.append((str(each["trial"]), *fidelity, score, *measured, format_duration(each["seconds"]), *reason))
    output.table("trials, the best first", rows)
    more = summary.evaluated - len(summary.best)
    notes = ([f"{more:,} more"] if more else []) + summary.notes
    if summary.failed:
        notes.append(f"tracebacks are in {short(run.path / files.TRIAL_ERRORS)}")
    for note in [*notes, f"all trials are in {short(run.path / files.TRIALS)}"] if notes else []:
        output.line(f"  {note}")
