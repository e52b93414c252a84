"""The core's own plugin module: its entries come through the same hooks as anybody else's. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from nasreg.data.entries import DATASETS
from nasreg.hookspecs import hookimpl
from nasreg.spaces.entries import SPACES
from nasreg.spaces.genotypes import GENOTYPES
from nasreg.specs.algorithm import DatasetEntry, GenotypeEntry, SpaceEntry


@hookimpl
def nasreg_spaces() -> Iterable[SpaceEntry]:
    """Return the built-in search spaces."""
    return SPACES


@hookimpl
def nasreg_datasets() -> Iterable[DatasetEntry]:
    """Return the built-in data sets."""
    return DATASETS


@hookimpl
def nasreg_genotypes() -> Iterable[GenotypeEntry]:
    """Return the published architectures of the built-in spaces."""
    return GENOTYPES
