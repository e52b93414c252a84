"""The results of a comparison as records, and tables of them as CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from nasreg.specs import MetricSpec, RunSpec
from nasreg.studies.collection import RunRecord
from nasreg.studies.judging import judge
from nasreg.studies.protocol import Group
from nasreg.studies.statistics import summarize

Record = dict[str, Any]


def run_records(groups: Sequence[Group], without: Sequence[RunRecord] = ()) -> list[Record]:
    """Return a record for each run; numbers are plain, times are seconds."""
    found = [_run_record(run, group.title) for group in groups for run in group.runs]
    return [*found, *(_run_record(run, run.problem) for run in without)]


def _run_record(run: RunRecord, problem: str) -> Record:
    spec = run.spec
    return {
        "problem": problem,
        "algorithm": run.label,
        "seed": run.seed,
        "state": run.state,
        "metric": run.objective.name if run.objective is not None else None,
        "score": run.score,
        "scored_by": run.source,
        "regret": run.fact("regret"),
        "rank": run.fact("rank"),
        "test": run.test if run.test is not None else run.metrics.get("test_accuracy"),
        "evaluations": run.evaluations,
        "epochs": run.epochs,
        "failed": run.failed,
        "rejected": run.rejected,
        "repeated": run.repeated,
        "seconds": run.seconds,
        "simulated_seconds": run.simulated,
        "retrain_seconds": run.retrain_seconds,
        "parameters": run.metrics.get("parameters"),
        "architecture": run.text,
        "preset": spec.preset if isinstance(spec, RunSpec) else None,
        "error": run.error,
        "run_dir": str(run.path),
    }


def summary_records(groups: Sequence[Group]) -> list[Record]:
    """Return a record for each algorithm and problem: statistics of the scores, and means of the costs."""
    found = []
    for group in groups:
        for label in group.labels:
            runs = group.of(label)
            if runs:
                found.append(_summary_record(group, label, runs))
    return found


def _summary_record(group: Group, label: str, runs: Sequence[RunRecord]) -> Record:
    summary = summarize([run.score for run in runs if run.score is not None])
    tests = [run.test for run in runs if run.test is not None]
    test = summarize(tests) if tests else None
    low, high = summary.interval or (None, None)
    iqm_low, iqm_high = summary.iqm_interval or (None, None)
    return {
        "problem": group.title,
        "algorithm": label,
        "metric": group.objective.name,
        "runs": summary.n,
        "mean": summary.mean,
        "std": summary.std,
        "sem": summary.sem,
        "mean_low": low,
        "mean_high": high,
        "median": summary.median,
        "iqm": summary.iqm,
        "iqm_low": iqm_low,
        "iqm_high": iqm_high,
        "min": summary.low,
        "max": summary.high,
        "regret": _mean([run.fact("regret") for run in runs]),
        "rank": _median([run.fact("rank") for run in runs]),
        "test_mean": test.mean if test is not None else None,
        "test_std": test.std if test is not None else None,
        "evaluations": _mean([run.evaluations for run in runs]),
        "epochs": _mean([run.epochs for run in runs]),
        "failed": sum(run.failed for run in runs),
        "rejected": sum(run.rejected for run in runs),
        "repeated": _mean([run.repeated for run in runs]),
        "seconds": _mean([run.seconds for run in runs]),
        "simulated_seconds": _mean([run.simulated for run in runs]),
        "retrain_seconds": _mean([run.retrain_seconds for run in runs]),
        "total_seconds": _mean([total_seconds(run) for run in runs]),
    }


def total_seconds(run: RunRecord) -> float:
    """Return the time from the start to the final network: search, its score, retraining; simulated where it is."""
    search = run.seconds if run.simulated is None else run.simulated
    return search + run.scoring_seconds + (run.retrain_seconds or 0.0)


def pair_records(groups: Sequence[Group]) -> list[Record]:
    """Return a record for each pair of algorithms and problem: the test, and the effect size."""
    return [
        {
            "problem": group.title,
            "one": pair.one,
            "other": pair.other,
            "runs": pair.n,
            "test": pair.test,
            "p": pair.p,
            "p_holm": pair.p_holm,
            "a12": pair.effect,
            "effect": pair.effect_size,
            "difference": pair.difference,
        }
        for group in groups
        for pair in judge(group).pairs
    ]


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = _known(values)
    return sum(known) / len(known) if known else None


def _median(values: Sequence[float | None]) -> float | None:
    known = sorted(_known(values))
    if not known:
        return None
    middle = len(known) // 2
    return known[middle] if len(known) % 2 else (known[middle - 1] + known[middle]) / 2


def csv_text(records: Sequence[Mapping[str, Any]]) -> str:
    """Return records as CSV, with a heading; what is missing is empty."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(records[0]) if records else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return file.getvalue()


def spread_text(metric: MetricSpec, value: float | None, spread: float | None) -> str:
    """Return a value with its spread, such as ``94.3% ± 0.1%``; without one the value alone."""
    if value is None:
        return "-"
    return metric.format(value) if spread is None else f"{metric.format(value)} ± {metric.format(spread)}"


def interval_text(metric: MetricSpec, low: float | None, high: float | None) -> str:
    """Return an interval, such as ``94.2% to 94.4%``."""
    return "-" if low is None or high is None else f"{metric.format(low)} to {metric.format(high)}"


def summary_rows(group: Group) -> list[list[str]]:
    """Return the table of a group as text: its heading, then a row for each algorithm."""
    records = _group_records(group)
    metric = group.objective
    has_regret = any(record["regret"] is not None for record in records)
    has_test = any(record["test_mean"] is not None for record in records)
    has_interval = any(record["mean_low"] is not None for record in records)
    heading = ["algorithm", "runs", "mean ± std"]
    heading += ["95% interval"] if has_interval else []
    heading += ["median", "IQM"]
    heading += ["regret"] if has_regret else []
    heading += [_test_title(group)] if has_test else []
    rows = [heading]
    for record in records:
        row = [
            record["algorithm"],
            str(record["runs"]),
            spread_text(metric, record["mean"], record["std"]),
        ]
        row += [interval_text(metric, record["mean_low"], record["mean_high"])] if has_interval else []
        row += [metric.format(record["median"]), metric.format(record["iqm"])]
        row += [spread_text(metric, record["regret"], None)] if has_regret else []
        row += [spread_text(metric, record["test_mean"], record["test_std"])] if has_test else []
        rows.append(row)
    return rows


def _group_records(group: Group) -> list[Record]:
    """Return the summary records of a group, the best mean first."""
    records = summary_records([group])
    return sorted(records, key=lambda record: group.objective.sort_key(record["mean"]))


def _test_title(group: Group) -> str:
    return next((run.test_metric.title for run in group.runs if run.test_metric is not None), "test")


def markdown_text(groups: Sequence[Group]) -> str:
    """Return a table for each group in Markdown, the best value in bold."""
    parts = []
    for group in groups:
        rows = [[cell.replace("|", "\\|") for cell in row] for row in summary_rows(group)]
        if len(rows) < 2:
            continue
        rows[1][2] = f"**{rows[1][2]}**"
        align = ["---", *["---:"] * (len(rows[0]) - 1)]
        lines = [f"| {' | '.join(row)} |" for row in (rows[0], align, *rows[1:])]
        parts.append(f"{group.title}: {group.objective.title}\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


_LATEX = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
}


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


def latex_text(groups: Sequence[Group]) -> str:
    """Return a table for each group in LaTeX, with the rules of booktabs; the best value is bold."""
    parts = []
    for group in groups:
        rows = [[_latex(cell) for cell in row] for row in summary_rows(group)]
        if len(rows) < 2:
            continue
        rows[1][2] = rf"\textbf{{{rows[1][2]}}}"
        lines = [" & ".join(row) + r" \\" for row in rows]
        parts.append(
            "\n".join(
                [
                    r"\begin{table}",
                    r"\centering",
                    rf"\caption{{{_latex(group.title)}: {_latex(group.objective.title)}}}",
                    rf"\begin{{tabular}}{{l{'r' * (len(rows[0]) - 1)}}}",
                    r"\toprule",
                    lines[0],
                    r"\midrule",
                    *lines[1:],
                    r"\bottomrule",
                    r"\end{tabular}",
                    r"\end{table}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n"
