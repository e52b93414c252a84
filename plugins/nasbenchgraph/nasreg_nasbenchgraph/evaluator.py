"""Looks the results of architectures up in the tables of NAS-Bench-Graph."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import cast

import numpy as np

from nasreg.errors import ConfigError
from nasreg.evaluators import Table, TableEvaluator
from nasreg.specs import LATENCY, PARAMETERS, Architecture, CellSpec, MetricSpec
from nasreg_nasbenchgraph.architectures import KEY, architecture_key, format_architecture
from nasreg_nasbenchgraph.config import DATASETS, EvaluatorConfig
from nasreg_nasbenchgraph.table import architecture_counts, find_table


class NasBenchGraphEvaluator(TableEvaluator):
    """Looks up what each proposal has reached on the validation split of a graph data set."""

    config: EvaluatorConfig
    architectures_column = "architectures"

    @cached_property
    def objective(self) -> MetricSpec:
        """The validation accuracy, or ROC-AUC."""
        data = DATASETS[self.config.dataset]
        name, title = data.metric
        return MetricSpec(name=name, title=f"validation {title} on {data.title}", unit="%", decimals=2)

    @cached_property
    def metrics(self) -> Sequence[MetricSpec]:
        """The same on the test split, parameters and latency."""
        name, title = DATASETS[self.config.dataset].metric
        return (MetricSpec(name=f"test_{name}", title=f"test {title}", unit="%", decimals=2), PARAMETERS, LATENCY)

    @property
    def title(self) -> str:
        """Name of the table."""
        return f"the table of NAS-Bench-Graph ({DATASETS[self.config.dataset].title})"

    def read_table(self) -> Table:
        """Return the rows of the table that architectures of the space have."""
        data = DATASETS[self.config.dataset]
        operations = cast("CellSpec", self.context.space[KEY]).candidates[0]
        if unknown := [name for name in operations if name not in data.operations]:
            raise ConfigError(
                f"no network with {', '.join(unknown)} was trained on {data.title}: set space.operations to"
                f" [{', '.join(data.operations)}]"
            )
        table = find_table(self.config.dataset, self.config.path)
        counts = architecture_counts(operations)[[int(key) for key in table.keys]]
        rows = np.flatnonzero(counts)
        columns = {name: column[rows] for name, column in table.columns.items()}
        name, _ = data.metric
        named = {name: columns.pop("validation"), f"test_{name}": columns.pop("test")}
        return Table([table.keys[row] for row in rows], {**named, **columns, self.architectures_column: counts[rows]})

    def key(self, architecture: Architecture) -> str:
        """Return the five digits that an architecture shares with isomorphic ones."""
        return architecture_key(architecture)

    def row_title(self, architecture: Architecture) -> str:
        """Return an architecture as the authors write it."""
        return format_architecture(self.context.space, architecture)
