"""An evaluator that looks scores up in a table, so that a search takes moments and every result can be repeated.

This is how tabular benchmarks such as NAS-Bench-201 (Dong, Yang, arXiv 2001.00326) are used: all architectures of a
small space were trained once, and a comparison of algorithms only reads their scores. The table here is a made-up CSV
file with a column for each choice, ``score`` and ``seconds``, which ``write_table`` makes. Nothing is trained, and no
data set is loaded.
"""

from __future__ import annotations

import csv
import itertools
import random
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import Field
from torch import nn

import nasreg
from nasreg.errors import ConfigError
from nasreg.evaluators import Evaluator
from nasreg.hookspecs import hookimpl
from nasreg.nn import LayerChoice
from nasreg.specs import Config, DataInfo, Decision, EvaluatorSpec, MetricSpec, PluginInfo, Proposal, Score, SpaceEntry

CHOICES = tuple(f"layer{number}" for number in range(5))
KERNELS = {"1x1": 1, "3x3": 3, "5x5": 5, "7x7": 7}


def build_space(info: DataInfo, config: Config) -> nn.Module:
    """Return five convolutions, each of one of four sizes: 1024 architectures."""
    del config

    def layer(key: str, channels: int) -> nn.Module:
        convolutions = {name: nn.Conv2d(channels, 4, size, padding=size // 2) for name, size in KERNELS.items()}
        return nn.Sequential(LayerChoice(convolutions, key=key), nn.ReLU())

    layers = [layer(key, info.channels if key == CHOICES[0] else 4) for key in CHOICES]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, info.n_classes))


def write_table(path: Path, seed: int = 0) -> None:
    """Write a table of all architectures: scores are sums over layers and pairs of adjacent layers, with noise."""
    rng = random.Random(seed)
    alone = [{name: rng.gauss(0, 0.02) for name in KERNELS} for _ in CHOICES]
    pairs = [{pair: rng.gauss(0, 0.01) for pair in itertools.product(KERNELS, repeat=2)} for _ in CHOICES[1:]]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*CHOICES, "score", "seconds"])
        for names in itertools.product(KERNELS, repeat=len(CHOICES)):
            score = 0.8 + rng.gauss(0, 0.002) + sum(row[name] for row, name in zip(alone, names, strict=True))
            score += sum(row[pair] for row, pair in zip(pairs, itertools.pairwise(names), strict=True))
            writer.writerow([*names, round(score, 4), 20 * sum(KERNELS[name] ** 2 for name in names)])


class TableConfig(Config):
    path: str | None = Field(default=None, description="the CSV file: a column per choice, score and seconds")


class TableLookup(Evaluator):
    config: TableConfig
    objective = MetricSpec(name="accuracy", title="accuracy in the table", unit="%")
    metrics = (MetricSpec(name="training_seconds", title="training in the table", unit="s", higher_is_better=False),)

    def setup(self) -> None:
        if self.config.path is None:
            raise ConfigError("the table has no path: set evaluator.path to a CSV file")
        with open(self.config.path, newline="", encoding="utf-8") as file:
            self.rows = {self.key(row): row for row in csv.DictReader(file)}

    def key(self, decisions: Mapping[str, Decision]) -> tuple[str, ...]:
        return tuple(str(decisions[choice.key]) for choice in self.context.space.choices)

    def evaluate(self, proposal: Proposal) -> Score:
        row = self.rows[self.key(proposal.architecture.decisions)]
        return self.score(float(row["score"]), training_seconds=float(row["seconds"]))


@hookimpl
def nasreg_plugin() -> PluginInfo:
    return PluginInfo(api=2)


@hookimpl
def nasreg_spaces() -> Iterable[SpaceEntry]:
    return [SpaceEntry(name="five-layers", summary="five convolutions", factory=build_space, config=Config)]


@hookimpl
def nasreg_evaluators() -> Iterable[EvaluatorSpec]:
    return [
        EvaluatorSpec(
            name="five-layers-table",
            summary="scores of all architectures of the space five-layers, from a CSV file",
            factory=TableLookup,
            config=TableConfig,
            spaces=("five-layers",),
        )
    ]


if __name__ == "__main__":
    nasreg.register(sys.modules[__name__])
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        write_table(table)
        result = nasreg.search(
            "five-layers",
            algorithm="random",
            evaluator="five-layers-table",
            evaluator_options={"path": str(table)},
            trainer={"max_trials": 200},
            seed=0,
        )
    scores = [trial["score"] for trial in result.trials if trial["status"] == "done"]
    print(f"{len(scores)} trials, the best accuracy {max(scores):.3f}")
    print(result.architecture.decisions)
