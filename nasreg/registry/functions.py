"""The registry of the process, and the look-ups of ``nasreg`` that use it."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from nasreg.registry.lookup import Registry
from nasreg.registry.records import Entry
from nasreg.specs.algorithm import AlgorithmSpec, Family
from nasreg.specs.entries import (
    DatasetEntry,
    EvaluatorSpec,
    ExecutorEntry,
    GenotypeEntry,
    Kind,
    RecipeEntry,
    RenamedEntry,
    SpaceEntry,
)


@functools.cache
def default_registry() -> Registry:
    """Return the registry that the command line and the functions of ``nasreg`` use."""
    return Registry()


def list_algorithms(family: Family | None = None, pattern: str | None = None) -> list[str]:
    """Return the names of the NAS algorithms that are installed here.

    Args:
        family: Only those of this family: ``"one-shot"`` or ``"multi-trial"``.
        pattern: Only names that match it, with the wildcards of a shell: ``"pc*"``.
    """
    return default_registry().algorithms(family, pattern)


def get_algorithm(name: str) -> AlgorithmSpec:
    """Return an algorithm; raises as ``Registry.algorithm`` does."""
    return default_registry().algorithm(name)


def list_spaces(pattern: str | None = None) -> list[str]:
    """Return the names of the search spaces that are installed here; takes a pattern as ``list_algorithms`` does."""
    return default_registry().spaces(pattern)


def get_space(name: str) -> SpaceEntry:
    """Return a search space; raises as ``Registry.space`` does."""
    return default_registry().space(name)


def list_datasets(pattern: str | None = None) -> list[str]:
    """Return the names of the data sets that are installed here; takes a pattern as ``list_algorithms`` does."""
    return default_registry().datasets(pattern)


def get_dataset(name: str) -> DatasetEntry:
    """Return a data set; raises as ``Registry.dataset`` does."""
    return default_registry().dataset(name)


def list_evaluators(pattern: str | None = None) -> list[str]:
    """Return the names of the evaluators that are installed here; takes a pattern as ``list_algorithms`` does."""
    return default_registry().evaluators(pattern)


def get_evaluator(name: str) -> EvaluatorSpec:
    """Return an evaluator; raises as ``Registry.evaluator`` does."""
    return default_registry().evaluator(name)


def list_executors(pattern: str | None = None) -> list[str]:
    """Return the names of the executors that are installed here; takes a pattern as ``list_algorithms`` does."""
    return default_registry().executors(pattern)


def get_executor(name: str) -> ExecutorEntry:
    """Return an executor; raises as ``Registry.executor`` does."""
    return default_registry().executor(name)


def list_genotypes(pattern: str | None = None) -> list[str]:
    """Return the names of the published genotypes installed here; takes a pattern as ``list_algorithms`` does."""
    return default_registry().genotypes(pattern)


def get_genotype(name: str) -> GenotypeEntry:
    """Return a published genotype; raises as ``Registry.genotype`` does."""
    return default_registry().genotype(name)


def list_recipes(pattern: str | None = None) -> list[str]:
    """Return the names of the recipes that are installed here; takes a pattern as ``list_algorithms`` does."""
    return default_registry().recipes(pattern)


def get_recipe(name: str) -> RecipeEntry:
    """Return a recipe; raises as ``Registry.recipe`` does."""
    return default_registry().recipe(name)


def describe(name: str, kind: Kind | None = None) -> dict[Kind, dict[str, Any]]:
    """Return all there is to know of a name, every option included, as ``Registry.describe`` does."""
    return default_registry().describe(name, kind)


def register(*things: Entry | RenamedEntry | ModuleType) -> None:
    """Add entries or plugin modules in this process, as ``Registry.register`` does."""
    default_registry().register(*things)


def refresh() -> None:
    """Look for plugins again in this process, as ``Registry.refresh`` does."""
    default_registry().refresh()
