"""Reads the tables of NAS-Bench-Graph in the package nas-bench-graph. Imports no torch before one is read.

Each is a pickle of a mapping from ``Arch.valid_hash`` to results, the means of three trainings. It is read by an
unpickler that makes plain containers and numbers only, and converted once into a file in nasreg's cache. The columns:
``validation`` and ``test`` (accuracy or ROC-AUC, a share), ``latency_ms`` and ``parameters``.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nasreg.errors import ConfigError
from nasreg.evaluators import NUMPY_SCALARS, Table, cached_table, load_plain_pickle, package_file
from nasreg_nasbenchgraph.architectures import DIGITS, NODES, SKIP, forms
from nasreg_nasbenchgraph.config import Name

_KEY = re.compile(rf"[0-8]{{{NODES + 1}}}")

_COLUMNS = {
    "valid_perf": ("validation", 1.0),
    "perf": ("test", 1.0),
    "latency": ("latency_ms", 1e3),
    "para": ("parameters", 1e6),
}
"""Name in the package -> name of the column, and its unit in that of the package."""


def find_table(dataset: Name, path: str | None = None) -> Table:
    """Return the table of a data set.

    Args:
        dataset: One of ``DATASETS``.
        path: A table of the user's own; by default that of the package nas-bench-graph.

    Raises:
        ConfigError: There is none, or it cannot be read.
    """
    if path is None:
        source = package_file("nas_bench_graph", f"light/{dataset}.bench", "nas-bench-graph")
    else:
        source = Path(path).expanduser()
        if not source.is_file():
            raise ConfigError(f"evaluator.path: there is no file {source}")
    return cached_table(source, "nasbenchgraph-1.npz", partial(_convert, source))


def _convert(source: Path) -> Table:
    content = load_plain_pickle(source, NUMPY_SCALARS)
    if not isinstance(content, dict) or not content:
        raise ConfigError(f"{source} is no table of NAS-Bench-Graph: it holds no mapping from hashes to results")
    try:
        rows = {_key(number): _row(number, content[number]) for number in content}
        columns = zip(*rows.values(), strict=True)
        return Table(tuple(rows), dict(zip((name for name, _ in _COLUMNS.values()), columns, strict=True)))
    except ValueError as error:
        raise ConfigError(f"{source} is no table of NAS-Bench-Graph: {error}") from error


def _key(number: Any) -> str:
    key = f"{number:0{NODES + 1}}" if type(number) is int else ""
    if not _KEY.fullmatch(key):
        raise ValueError(f"{number!r:.40} is no hash of an architecture")
    return key


def _row(number: int, results: Any) -> list[float]:
    if not isinstance(results, dict) or not set(_COLUMNS) <= set(results):
        raise ValueError(f"row {number} does not have {', '.join(_COLUMNS)}")
    for name in _COLUMNS:
        value, limit = results[name], 1 if name.endswith("perf") else math.inf
        if type(value) not in (int, float) or not 0 <= value <= limit or value == math.inf:
            raise ValueError(f"row {number} has {value!r:.40} in {name!r}, which is no number from 0 to {limit}")
    found = [unit * results[name] for name, (_, unit) in _COLUMNS.items()]
    return [*found[:-1], round(found[-1])]


@functools.lru_cache(maxsize=8)
def architecture_counts(operations: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return how many of the architectures with some operations have each key, ``(10^5,)``.

    Args:
        operations: Names of the operations.
    """
    numbers = [int(DIGITS[name]) for name in operations]
    skip = int(DIGITS[SKIP])
    powers = 10 ** np.arange(NODES - 1, -1, -1)
    counts = np.zeros(10 ** (NODES + 1), dtype=np.int64)
    for skips in itertools.product((False, True), repeat=NODES):
        possible = [[each for each in numbers if (each == skip) == is_skip] for is_skip in skips]
        digits = np.array(list(itertools.product(*possible)), dtype=np.int64).reshape(-1, NODES)
        for sources in itertools.product(*(range(node + 1) for node in range(NODES))):
            written = [pattern * 10**NODES + digits[:, order] @ powers for pattern, order in forms(sources, skips)]
            np.add.at(counts, np.min(written, axis=0), 1)
    return counts
