"""The result of a comparison: its runs, tables, statistics, figures and page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nasreg.errors import ConfigError, UnknownNameError, did_you_mean
from nasreg.specs.study import StudySpec
from nasreg.studies.collection import RunRecord
from nasreg.studies.figures import ChartName, chart_of
from nasreg.studies.judging import Judgement, Ranking, judge, rank_problems
from nasreg.studies.protocol import Group, groups_of
from nasreg.studies.tables import (
    Record,
    csv_text,
    latex_text,
    markdown_text,
    pair_records,
    run_records,
    summary_records,
    summary_rows,
)
from nasreg.studies.wording import summary_sentence

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class StudyResult:
    """What a study found: every run, and what may be said of them."""

    runs: Sequence[RunRecord] = field(repr=False)
    spec: StudySpec | None = field(default=None, repr=False)
    """The study; None for runs that existed."""
    path: Path | None = None
    """Directory of the study."""
    page: Path | None = None
    """The page, if one was written."""
    notices: Sequence[str] = ()

    @cached_property
    def _grouped(self) -> tuple[list[Group], list[RunRecord]]:
        return groups_of(self.runs)

    @property
    def groups(self) -> list[Group]:
        """The runs that may be compared with each other: one group for each problem."""
        return self._grouped[0]

    @property
    def without_result(self) -> list[RunRecord]:
        """The runs of which nothing is known yet."""
        return self._grouped[1]

    @cached_property
    def ranking(self) -> Ranking | None:
        """Friedman's and Nemenyi's tests over the problems; None where there are fewer than three."""
        return rank_problems([group for group in self.groups if group.done])

    @cached_property
    def judgements(self) -> Mapping[str, Judgement]:
        """Problem -> what the tests say of it."""
        return {group.title: judge(group) for group in self.groups}

    @cached_property
    def summary(self) -> str:
        """The result in a sentence."""
        return summary_sentence(self.groups, self.ranking)

    def records(self) -> list[Record]:
        """Return a record for each run: problem, algorithm, seed, score, costs, architecture."""
        return run_records(self.groups, self.without_result)

    def table(self) -> list[Record]:
        """Return a record for each algorithm and problem: mean, spread, intervals, costs."""
        return summary_records(self.groups)

    def comparisons(self) -> list[Record]:
        """Return a record for each pair of algorithms and problem: test, p, p after Holm's correction, effect size."""
        return pair_records(self.groups)

    def to_pandas(self, what: Literal["runs", "table", "comparisons"] = "runs") -> Any:
        """Return the records as a ``pandas.DataFrame``.

        Raises:
            ConfigError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ConfigError('to_pandas needs a package: pip install "nasreg[compare]"') from error
        return pd.DataFrame({"runs": self.records, "table": self.table, "comparisons": self.comparisons}[what]())

    def to_csv(self) -> str:
        """Return the runs as CSV."""
        return csv_text(self.records())

    def to_markdown(self) -> str:
        """Return the tables in Markdown."""
        return markdown_text(self.groups)

    def to_latex(self) -> str:
        """Return the tables in LaTeX, with the rules of the package booktabs."""
        return latex_text(self.groups)

    def group(self, problem: str | None = None) -> Group:
        """Return the runs of a problem; by default of the first.

        Raises:
            UnknownNameError: There is none of that title.
        """
        known = {group.title: group for group in self.groups}
        title = problem if problem is not None else next(iter(known), "")
        if title not in known:
            raise UnknownNameError(f"there is no problem {title!r}.{did_you_mean(title, known)}")
        return known[title]

    def figure(self, chart: ChartName = "evaluations", problem: str | None = None) -> Figure:
        """Return a chart of a problem as a matplotlib figure.

        Args:
            chart: ``evaluations`` or ``seconds`` (the best so far over the budget), ``scores`` (each run a point),
                ``ranks`` (mean rank over evaluations), ``critical-difference``.
            problem: Title of the problem; by default the first.

        Raises:
            ConfigError: There is nothing to show, or matplotlib is not installed.
        """
        group = self.group(problem)
        return chart_of(self.groups, chart, group, self.judgements[group.title].ranking)

    def _repr_html_(self) -> str:
        """Return the HTML that Jupyter shows."""
        from html import escape

        parts = [f"<p>{escape(self.summary)}</p>"]
        for group in self.groups:
            head, *rows = summary_rows(group)
            cells = "".join(f"<th>{escape(each)}</th>" for each in head)
            body = "".join(f"<tr>{''.join(f'<td>{escape(each)}</td>' for each in row)}</tr>" for row in rows)
            parts.append(f"<h4>{escape(group.title)}</h4><table><tr>{cells}</tr>{body}</table>")
        return "".join(parts)
