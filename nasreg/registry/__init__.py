"""The registry of algorithms, search spaces, data sets, evaluators, executors, genotypes and recipes. Imports no torch.

Each name is loaded when it is first used: what only writes a message needs no discovery.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasreg.registry.functions import (
        default_registry,
        describe,
        get_algorithm,
        get_dataset,
        get_evaluator,
        get_executor,
        get_genotype,
        get_recipe,
        get_space,
        list_algorithms,
        list_datasets,
        list_evaluators,
        list_executors,
        list_genotypes,
        list_recipes,
        list_spaces,
        refresh,
        register,
    )
    from nasreg.registry.lookup import Registry
    from nasreg.registry.records import CORE, KINDS, TITLES, PluginRecord

_HOMES = {
    "functions": (
        "default_registry",
        "describe",
        "get_algorithm",
        "get_dataset",
        "get_evaluator",
        "get_executor",
        "get_genotype",
        "get_recipe",
        "get_space",
        "list_algorithms",
        "list_datasets",
        "list_evaluators",
        "list_executors",
        "list_genotypes",
        "list_recipes",
        "list_spaces",
        "refresh",
        "register",
    ),
    "lookup": ("Registry",),
    "records": ("CORE", "KINDS", "TITLES", "PluginRecord"),
}
_HOME = {name: f"nasreg.registry.{module}" for module, names in _HOMES.items() for name in names}

__all__ = [
    "CORE",
    "KINDS",
    "TITLES",
    "PluginRecord",
    "Registry",
    "default_registry",
    "describe",
    "get_algorithm",
    "get_dataset",
    "get_evaluator",
    "get_executor",
    "get_genotype",
    "get_recipe",
    "get_space",
    "list_algorithms",
    "list_datasets",
    "list_evaluators",
    "list_executors",
    "list_genotypes",
    "list_recipes",
    "list_spaces",
    "refresh",
    "register",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return found


def __dir__() -> list[str]:
    return __all__
