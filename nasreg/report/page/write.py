"""Writes the page of a run, after a check that the optional packages are there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nasreg.errors import RunDirectoryError
from nasreg.report.drawing.canvas import default_style
from nasreg.report.packages import require_page_packages
from nasreg.runs import files
from nasreg.runs.directory import RunDirectory
from nasreg.specs.metrics import MetricSpec, task_metrics


def write_report(run_dir: str | Path, *, metrics: Sequence[MetricSpec] | None = None) -> Path:
    """Write ``index.html`` of a run: self-contained, and the same bytes for the same run.

    Args:
        run_dir: The run directory, of a run in any state.
        metrics: The metrics of the task, by default those that ``task_metrics`` knows; others are printed as plain
            numbers.

    Returns:
        The path of the page.

    Raises:
        ConfigError: matplotlib or jinja2 is not installed.
        NasregError: The directory is no run, a file in it is damaged, or the page cannot be written.
    """
    require_page_packages()
    from nasreg.report.page.contents import read_contents
    from nasreg.report.page.html import render_page

    run = RunDirectory(run_dir)
    with default_style():
        text = render_page(read_contents(run, task_metrics(run.spec.task) if metrics is None else metrics))
    try:
        path: Path = run.write_text(files.REPORT, text)
    except OSError as error:
        raise RunDirectoryError(f"cannot write {run.path / files.REPORT}: {error}") from error
    return path
