"""nasreg: a plugin-based registry of neural-architecture-search algorithms for PyTorch.

Importing it imports no torch and discovers no plugin; each name below is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasreg.api import SearchResult, resume, search
    from nasreg.errors import NasregError
    from nasreg.export import export_network
    from nasreg.hookspecs import hookimpl
    from nasreg.networks import build_network, find_source
    from nasreg.nn import extract_space, freeze
    from nasreg.profile import candidate_costs, profile_network
    from nasreg.registry import (
        Registry,
        describe,
        get_algorithm,
        get_dataset,
        get_genotype,
        get_space,
        list_algorithms,
        list_datasets,
        list_genotypes,
        list_spaces,
        register,
    )
    from nasreg.retraining.api import RetrainResult, retrain
    from nasreg.retraining.evaluation import evaluate
    from nasreg.saved import load_network
    from nasreg.specs import AlgorithmSpec, Architecture, RetrainSpec, RunSpec, SearchSpaceSpec

__version__ = "0.1.0"

_HOMES = {
    "nasreg.errors": ("NasregError",),
    "nasreg.hookspecs": ("hookimpl",),
    "nasreg.export": ("export_network",),
    "nasreg.networks": ("build_network", "find_source"),
    "nasreg.nn": ("extract_space", "freeze"),
    "nasreg.profile": ("candidate_costs", "profile_network"),
    "nasreg.registry": (
        "Registry",
        "describe",
        "get_algorithm",
        "get_dataset",
        "get_genotype",
        "get_space",
        "list_algorithms",
        "list_datasets",
        "list_genotypes",
        "list_spaces",
        "register",
    ),
    "nasreg.api": ("SearchResult", "resume", "search"),
    "nasreg.retraining.api": ("RetrainResult", "retrain"),
    "nasreg.retraining.evaluation": ("evaluate",),
    "nasreg.specs": ("AlgorithmSpec", "Architecture", "RetrainSpec", "RunSpec", "SearchSpaceSpec"),
    "nasreg.saved": ("load_network",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AlgorithmSpec",
    "Architecture",
    "NasregError",
    "Registry",
    "RetrainResult",
    "RetrainSpec",
    "RunSpec",
    "SearchResult",
    "SearchSpaceSpec",
    "build_network",
    "candidate_costs",
    "describe",
    "evaluate",
    "export_network",
    "extract_space",
    "find_source",
    "freeze",
    "get_algorithm",
    "get_dataset",
    "get_genotype",
    "get_space",
    "hookimpl",
    "list_algorithms",
    "list_datasets",
    "list_genotypes",
    "list_spaces",
    "load_network",
    "profile_network",
    "register",
    "resume",
    "retrain",
    "search",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
