"""The table of block costs that a search uses: the one given, else as its run has recorded it, else measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from torch import nn

from nasreg.errors import ConfigError
from nasreg.runs import files
from nasreg.runs.directory import RunDirectory
from nasreg.specs.base import parse
from nasreg.specs.cost_table import CostTable
from nasreg.specs.trial import COSTS, LATENCY, MACS, PARAMETERS


def find_table(
    model: nn.Module,
    names: Collection[str],
    measure: Callable[[nn.Module, Collection[str]], CostTable],
    given: str | None,
    run: RunDirectory | None,
) -> CostTable:
    """Return the costs of the blocks of a supernet.

    A run records latencies that were measured, so that it computes the same when it is resumed.

    Args:
        model: The supernet.
        names: Which costs.
        measure: Measures them.
        given: A file with tables.
        run: The run directory.

    Raises:
        ConfigError: The file cannot be read, or has no table of this supernet with these costs.
    """
    counted = measure(model, [PARAMETERS.name, MACS.name])  # which tell supernets apart

    def found(tables: list[CostTable]) -> CostTable | None:
        return next((each for each in tables if each.fits(counted) and set(names) <= set(each.names)), None)

    if given is not None:
        if (table := found(read_tables(Path(given)))) is None:
            raise ConfigError(
                f"trainer.block_costs: {given} has no table with {' and '.join(sorted(names))} of this space with these"
                " options and images: measure it with nasreg profile --space ... --blocks --json"
            )
        return table
    if LATENCY.name not in names:
        return counted
    path = None if run is None else run.path / files.BLOCK_COSTS
    recorded = read_tables(path) if path is not None and path.is_file() else []
    if (table := found(recorded)) is None:
        table = measure(model, [cost.name for cost in COSTS])
        if run is not None:
            run.write_json(files.BLOCK_COSTS, [each.model_dump(mode="json") for each in (*recorded, table)])
    return table


def read_tables(path: Path) -> list[CostTable]:
    """Read one or several tables from a JSON file.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        found: Any = json.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is no table of block costs: it is not JSON ({error})") from error
    if isinstance(found, dict) and "table" in found:
        found = found["table"]
    return [parse(CostTable, each, str(path)) for each in (found if isinstance(found, list) else [found])]
