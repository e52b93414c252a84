"""A table of results, and the evaluator that looks them up: what every tabular benchmark is made of.

All architectures of a small space were trained once, and a search only reads the results, as in NAS-Bench-201 (Dong,
Yang, arXiv 2001.00326). An evaluator of such a benchmark says how its table is read and which row an architecture has;
looking up, the simulated time, and the facts at the end of a search are here.
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from nasreg.errors import ArchitectureError, ConfigError, one_line
from nasreg.evaluators.base import Evaluator, EvaluatorContext
from nasreg.evaluators.random_baseline import expected_best_of_random
from nasreg.runs.cache import cached_file
from nasreg.specs.architecture import Architecture
from nasreg.specs.base import Config
from nasreg.specs.formatting import plural
from nasreg.specs.metrics import Fact, MetricSpec
from nasreg.specs.trial import SIMULATED_SECONDS, Proposal, Score, Trial

Column = np.ndarray[Any, np.dtype[np.float64]]
"""Float64 numbers, ``(rows,)``."""


class Table:
    """Results by the key of an architecture: named columns of numbers.

    Args:
        keys: The key of each row, a text.
        columns: Name -> numbers, ``(rows,)``; NaN where a row has none.

    Raises:
        ValueError: A key occurs twice, or a column has another length.
    """

    def __init__(self, keys: Sequence[str], columns: Mapping[str, Any]) -> None:
        self.keys = tuple(keys)
        self.columns: dict[str, Column] = {
            name: np.ascontiguousarray(column, dtype=np.float64) for name, column in columns.items()
        }
        self._rows = {key: row for row, key in enumerate(self.keys)}
        if len(self._rows) != len(self.keys):
            twice = next(key for row, key in enumerate(self.keys) if self._rows[key] != row)
            raise ValueError(f"it has two rows {twice!r}")
        for name, column in self.columns.items():
            if column.shape != (len(self.keys),):
                raise ValueError(f"column {name!r} has shape {column.shape}, and there are {len(self.keys)} rows")

    def __len__(self) -> int:
        return len(self.keys)

    def row(self, key: str) -> int | None:
        """Return the number of the row with a key, or None."""
        return self._rows.get(key)

    def save(self, file: IO[bytes]) -> None:
        """Write the table as ``.npz``, which holds numbers and text and no code."""
        np.savez(file, **{"keys": np.array(self.keys), **{f"column/{n}": c for n, c in self.columns.items()}})  # type: ignore[arg-type]  # numpy takes its own keyword for one of them

    @classmethod
    def load(cls, path: Path) -> Table:
        """Read what ``save`` wrote.

        Raises:
            ConfigError: The file is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                columns = {n.removeprefix("column/"): file[n] for n in file.files if n.startswith("column/")}
                return cls(file["keys"].tolist(), columns)
        except Exception as error:  # whatever zipfile, zlib and numpy raise for what is broken
            raise ConfigError(f"{path} is damaged ({one_line(error)}): delete it, and it is made again") from error


def cached_table(source: Path, kind: str, convert: Callable[[], Table]) -> Table:
    """Return the table that is made of a file: it is converted once, and read once in a process.

    Args:
        source: See ``cached_file``.
        kind: See ``cached_file``; it ends with ``.npz``.
        convert: Makes the table; called where the cache does not have it.

    Raises:
        ConfigError: A file cannot be read or written.
        Exception: Whatever ``convert`` raises.
    """
    return _loaded(cached_file(source, kind, lambda file: convert().save(file)))


@functools.lru_cache(maxsize=8)
def _loaded(path: Path) -> Table:
    return Table.load(path)  # another content has another name


class TableEvaluator(Evaluator):
    """Looks the result of each proposal up in a table.

    A subclass implements ``read_table`` and ``key``, and says with ``objective``, ``metrics`` and ``simulated_seconds``
    which columns are what: the objective and the metrics have the names of their columns.

    Args:
        context: The search.
        config: Options.

    Raises:
        ConfigError: The table cannot be read, or lacks what the options ask for.

    Attributes:
        table: The table.
    """

    seconds_column: str | None = None
    """The column of the time that the training of a row has taken, in seconds; None where the table has none."""
    seconds_share: float = 1.0
    """The share of that time that an evaluation costs."""
    architectures_column: str | None = None
    """The column of the number of architectures of the space that have a row, such as isomorphic ones, which random
    search draws more often; None where each row has one."""

    def __init__(self, context: EvaluatorContext, config: Config) -> None:
        super().__init__(context, config)
        self.table = self.read_table()
        named = [self.objective.name, *(metric.name for metric in self._column_metrics)]
        wanted = [*named, *(name for name in (self.seconds_column, self.architectures_column) if name is not None)]
        missing = [name for name in wanted if name not in self.table.columns]
        if missing:
            raise ConfigError(f"{self.title} lacks the column {missing[0]!r}; it has {', '.join(self.table.columns)}")
        if not len(self.table) or not np.isfinite(self._values).any():
            raise ConfigError(f"{self.title} has no row with {self.objective.title}")

    @abstractmethod
    def read_table(self) -> Table:
        """Return the table that the options ask for; called once, when the evaluator is made.

        Raises:
            ConfigError: It cannot be read, or there is none for these options.
        """

    @abstractmethod
    def key(self, architecture: Architecture) -> str:
        """Return the key of the row of an architecture. Architectures that the table does not tell apart share one."""

    @property
    def title(self) -> str:
        """Name of the table, for errors and facts."""
        return "the table"

    def row_title(self, architecture: Architecture) -> str:
        """Return the name of an architecture, for errors."""
        return self.key(architecture)

    @property
    def _column_metrics(self) -> list[MetricSpec]:
        return [metric for metric in self.metrics if metric.name != SIMULATED_SECONDS.name]

    @functools.cached_property
    def _values(self) -> Column:
        return self.table.columns[self.objective.name]

    @functools.cached_property
    def _measured(self) -> list[tuple[str, Column]]:
        """Name and column of each metric."""
        measured = [(metric.name, self.table.columns[metric.name]) for metric in self._column_metrics]
        if self.seconds_column is not None:
            measured.append((SIMULATED_SECONDS.name, self.seconds_share * self.table.columns[self.seconds_column]))
        return measured

    def lookup(self, architecture: Architecture) -> Score | None:
        """Return the score that the table has for an architecture, or None."""
        row = self.table.row(self.key(architecture))
        if row is None or not math.isfinite(self._values[row]):
            return None
        metrics = {name: value for name, column in self._measured if math.isfinite(value := column.item(row))}
        return Score(self._values.item(row), metrics, self._higher_is_better)

    @functools.cached_property
    def _higher_is_better(self) -> bool:
        return self.higher_is_better

    def check(self, architecture: Architecture) -> None:
        """Check that the table has a row for an architecture.

        Raises:
            ArchitectureError: It has none.
        """
        if self.lookup(architecture) is None:
            raise self._missing(architecture)

    def evaluate(self, proposal: Proposal) -> Score:
        """Return the score in the table.

        Raises:
            ArchitectureError: It has none.
        """
        found = self.lookup(proposal.architecture)
        if found is None:
            raise self._missing(proposal.architecture)
        return found

    def _missing(self, architecture: Architecture) -> ArchitectureError:
        return ArchitectureError(f"{self.title} has no result of {self.row_title(architecture)}")

    def rank(self, value: float) -> int:
        """Return the rank of a value of the objective among the rows, 1 for the best; equal ones share it."""
        values = self._values[np.isfinite(self._values)]
        return 1 + int(np.sum(values > value if self.higher_is_better else values < value))

    def facts(self, best: Trial, evaluations: int) -> Sequence[Fact]:
        """Return the rank of the best trial, its regret, and what random search finds with as many evaluations."""
        if best.score is None:
            return ()
        has_value = np.isfinite(self._values)
        values, weights = self._values[has_value], None
        if self.architectures_column is not None:
            weights = self.table.columns[self.architectures_column][has_value]
        optimum = float(values.max() if self.higher_is_better else values.min())
        value, metric, rank = best.score.value, self.objective, self.rank(best.score.value)
        direction = self.higher_is_better
        expected = expected_best_of_random(values, evaluations, higher_is_better=direction, weights=weights)
        of_rows, draws = f"{len(values):,}", plural(evaluations, "evaluation")
        return (
            Fact(name="rank", title="rank in the table", value=rank, text=f"{rank:,} of {of_rows}"),
            Fact.of(metric.model_copy(update={"name": "optimum", "title": "optimum of the table"}), optimum),
            Fact.of(metric.model_copy(update={"name": "regret", "title": "regret"}), abs(optimum - value)),
            Fact(
                name="random_search",
                title="random search",
                value=expected.mean,
                text=f"{metric.format(expected.mean)} ± {metric.format(expected.std)} with {draws}",
            ),
        )
