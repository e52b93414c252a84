"""The core's own plugin module: its search spaces and data sets use the same hooks as anybody else's. No torch."""

from __future__ import annotations

from collections.abc import Iterable

from nasreg.data.entries import DATASETS
from nasreg.hookspecs import hookimpl
from nasreg.spaces.entries import SPACES
from nasreg.specs.algorithm import DatasetEntry, SpaceEntry


@hookimpl
def nasreg_spaces() -> Iterable[SpaceEntry]:
    """Return the built-in search spaces."""
    return SPACES


@hookimpl
def nasreg_datasets() -> Iterable[DatasetEntry]:
    """Return the built-in data sets."""
    return DATASETS
