"""Looks the results of architectures up in the table of NAS-Bench-201."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from nasreg.evaluators import Table, TableEvaluator
from nasreg.specs import (
    LATENCY,
    PARAMETERS,
    SIMULATED_SECONDS,
    Architecture,
    MetricSpec,
    Proposal,
    RunSpec,
    Score,
)
from nasreg_nasbench201.config import DATASETS, EvaluatorConfig
from nasreg_nasbench201.strings import architecture_key, format_string
from nasreg_nasbench201.table import REPEATS, find_table

DEFAULT_DATASET = "cifar10"


def dataset_of(run: RunSpec, chosen: str | None = None) -> str:
    """Return the data set whose results a search sees: the chosen one, else its own if the table has it."""
    return chosen or (run.dataset.title if run.dataset.title in DATASETS else DEFAULT_DATASET)


class NasBench201Evaluator(TableEvaluator):
    """Looks the validation accuracy of each proposal up; it costs the seconds that its training has taken."""

    config: EvaluatorConfig
    seconds_column = "seconds"

    @cached_property
    def dataset(self) -> str:
        """The data set that the architectures were trained on."""
        return dataset_of(self.context.spec, self.config.dataset)

    @property
    def title(self) -> str:
        """Name of the table."""
        return f"the table of NAS-Bench-201 ({DATASETS[self.dataset]}, {self.config.epochs} epochs)"

    @cached_property
    def objective(self) -> MetricSpec:
        """The validation accuracy."""
        return MetricSpec(
            name="accuracy", title=f"validation accuracy on {DATASETS[self.dataset]}", unit="%", decimals=2
        )

    @cached_property
    def metrics(self) -> Sequence[MetricSpec]:
        """Parameters, latency and simulated time, and the test accuracy where the table has it."""
        test = MetricSpec(name="test_accuracy", title="test accuracy", unit="%", decimals=2)
        has_test = test.name in self.table.columns
        return (PARAMETERS, LATENCY, SIMULATED_SECONDS, *([test] if has_test else []))

    def read_table(self) -> Table:
        """Return the table of the data set, with the accuracies of the chosen training."""
        table = find_table(self.dataset, self.config.epochs, self.config.path)
        seed = self.config.seed
        if isinstance(seed, int):
            return Table(table.keys, {**table.columns, "accuracy": table.columns[f"accuracy_{seed}"]})
        return table

    def key(self, architecture: Architecture) -> str:
        """Return the six digits of an architecture."""
        return architecture_key(architecture)

    def row_title(self, architecture: Architecture) -> str:
        """Return the published string of an architecture."""
        return format_string(self.context.space, architecture)

    def evaluate(self, proposal: Proposal) -> Score:
        """Return the score in the table; with ``seed=random`` that of one of the trainings."""
        score = super().evaluate(proposal)
        if self.config.seed != "random":
            return score
        row = self.table.row(self.key(proposal.architecture))
        values = [float(self.table.columns[f"accuracy_{number}"][row]) for number in range(REPEATS)]
        drawn = random.Random(self.seed(proposal)).choice([value for value in values if math.isfinite(value)])
        return replace(score, value=drawn)
