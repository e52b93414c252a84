"""Reads the files of NATS-Bench (Dong et al., arXiv 2009.00437) with the authors' package nats-bench.

They hold the trainings of every architecture after each of 12 and of 200 epochs. The package unpickles them, which runs
whatever code is in them: use the files that the authors publish. They are read once, which takes minutes and gigabytes,
and kept as a small table in nasreg's cache.

The search is on ``cifar10-valid``, the train half of CIFAR-10, and the test accuracy is that after 200 epochs on all of
it, as in the published protocol. Each evaluation costs the seconds of its training and of one validation.
"""

from __future__ import annotations

import contextlib
import io
import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasreg.errors import ConfigError, one_line
from nasreg.evaluators import Table, cached_table
from nasreg_nasbench201.config import DATASETS
from nasreg_nasbench201.strings import all_keys, key_string

if TYPE_CHECKING:
    from nasreg_nasbench201.table import Row

EPOCHS = (12, 200)
"""The trainings of NATS-Bench, by their number of epochs."""

_NAMES = {
    "cifar10": ("cifar10-valid", "cifar10"),
    "cifar100": ("cifar100",) * 2,
    "imagenet16-120": ("ImageNet16-120",) * 2,
}
"""Data set -> the authors' names of what is searched on, and of what is tested."""


def nats_table(path: Path, dataset: str, epochs: int) -> Table:
    """Return the table of a data set after some epochs.

    Args:
        path: A ``.pickle.pbz2``, or the folder of a ``-simple`` archive.
        dataset: One of ``DATASETS``.
        epochs: One of ``EPOCHS``.

    Raises:
        ConfigError: There are no such results, the files cannot be read, or nats-bench is not installed.
    """
    if epochs not in EPOCHS:
        raise ConfigError(f"evaluator.epochs: NATS-Bench has results after 12 and 200 epochs, not after {epochs}")
    kind = f"nats-bench-{dataset}-{epochs}-1.npz"
    return cached_table(path, kind, partial(_convert, path, dataset, epochs))


def _convert(path: Path, dataset: str, epochs: int) -> Table:
    from nasreg_nasbench201.table import make_table

    api = _open(path)
    rows = {key: row for key in all_keys() if (row := _row(api, path, key, dataset, epochs)) is not None}
    if not rows:
        raise ConfigError(f"{path} has no result on {DATASETS[dataset]} after {epochs} epochs")
    return make_table(rows)


def _open(path: Path) -> Any:
    try:
        import nats_bench
    except ImportError as error:
        raise ConfigError(
            f'reading {path} needs the package nats-bench: pip install "nasreg-nasbench201[nats]"'
        ) from error
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints whatever is asked of it
            return nats_bench.create(str(path), "tss", fast_mode=path.is_dir(), verbose=False)
    except Exception as error:  # whatever bz2, pickle and the package raise for what is no such file
        raise ConfigError(f"{path} cannot be read as files of NATS-Bench: {one_line(error)}") from error


def _row(api: Any, path: Path, key: str, dataset: str, epochs: int) -> Row | None:
    """Return the results of an architecture; None if it has none."""
    from nasreg_nasbench201.table import Row

    index = api.query_index_by_arch(key_string(key))
    searched, tested = _NAMES[dataset]
    if index < 0 or (not path.is_dir() and index not in api.evaluated_indexes):
        return None
    try:
        results = api.query_meta_info_by_index(index, str(epochs))
        accuracies = [
            float(results.get_metrics(searched, "x-valid", is_random=seed)["accuracy"])
            for seed in results.get_dataset_seeds(searched)
        ]
        info = api.get_more_info(index, searched, hp=str(epochs), is_random=False)
        costs = results.get_compute_costs(searched)
        row = Row(
            accuracies,
            seconds=float(info["train-all-time"]) + float(info["valid-per-time"]),
            parameters=round(1e6 * float(costs["params"])),
            latency_ms=math.nan if costs["latency"] is None else 1e3 * float(costs["latency"]),
            test_accuracy=_test_accuracy(api, index, tested),
        )
        if path.is_dir():
            api.arch2infos_dict.pop(index, None)  # it would keep all of them
    except Exception as error:  # whatever the package raises where a file lacks something
        raise ConfigError(f"{path}: {key_string(key)} cannot be read: {one_line(error)}") from error
    return row


def _test_accuracy(api: Any, index: int, dataset: str) -> float:
    results = api.query_meta_info_by_index(index, "200")
    split = "ori-test" if dataset == "cifar10" else "x-test"
    return float(results.get_metrics(dataset, split, is_random=False)["accuracy"])
