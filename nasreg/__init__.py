"""nasreg: a plugin-based registry of neural-architecture-search algorithms for PyTorch.

Importing it imports no torch and discovers no plugin; each name below is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nasreg.specs.version import __version__

if TYPE_CHECKING:
    from nasreg.engine.checks.check import check
    from nasreg.engine.checks.findings import CheckReport, Finding
    from nasreg.engine.evaluate import Evaluation, evaluate
    from nasreg.engine.retrain import RetrainResult, retrain
    from nasreg.engine.runs import resume
    from nasreg.engine.search import search
    from nasreg.engine.search_result import SearchResult
    from nasreg.errors import NasregError
    from nasreg.hookspecs import hookimpl
    from nasreg.networks.build import build_network
    from nasreg.networks.costs import profile_space
    from nasreg.networks.export import export_network
    from nasreg.networks.profile import candidate_costs, profile_network
    from nasreg.networks.references import find_architecture
    from nasreg.networks.weights import load_network
    from nasreg.nn import extract_space, freeze
    from nasreg.registry import (
        Registry,
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
    from nasreg.specs import AlgorithmSpec, Architecture, RetrainSpec, RunSpec, SearchSpaceSpec
    from nasreg.studies.api import compare
    from nasreg.studies.result import StudyResult

_HOMES = {
    "nasreg.studies.result": ("StudyResult",),
    "nasreg.studies.api": ("compare",),
    "nasreg.engine.checks.check": ("check",),
    "nasreg.engine.checks.findings": (
        "CheckReport",
        "Finding",
    ),
    "nasreg.engine.evaluate": (
        "Evaluation",
        "evaluate",
    ),
    "nasreg.engine.retrain": (
        "RetrainResult",
        "retrain",
    ),
    "nasreg.engine.runs": ("resume",),
    "nasreg.engine.search": ("search",),
    "nasreg.engine.search_result": ("SearchResult",),
    "nasreg.errors": ("NasregError",),
    "nasreg.hookspecs": ("hookimpl",),
    "nasreg.networks.build": ("build_network",),
    "nasreg.networks.costs": ("profile_space",),
    "nasreg.networks.export": ("export_network",),
    "nasreg.networks.profile": (
        "candidate_costs",
        "profile_network",
    ),
    "nasreg.networks.references": ("find_architecture",),
    "nasreg.networks.weights": ("load_network",),
    "nasreg.nn": (
        "extract_space",
        "freeze",
    ),
    "nasreg.registry": (
        "Registry",
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
    "nasreg.specs": (
        "AlgorithmSpec",
        "Architecture",
        "RetrainSpec",
        "RunSpec",
        "SearchSpaceSpec",
    ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AlgorithmSpec",
    "Architecture",
    "CheckReport",
    "Evaluation",
    "Finding",
    "NasregError",
    "Registry",
    "RetrainResult",
    "RetrainSpec",
    "RunSpec",
    "SearchResult",
    "SearchSpaceSpec",
    "StudyResult",
    "__version__",
    "build_network",
    "candidate_costs",
    "check",
    "compare",
    "describe",
    "evaluate",
    "export_network",
    "extract_space",
    "find_architecture",
    "freeze",
    "get_algorithm",
    "get_dataset",
    "get_evaluator",
    "get_executor",
    "get_genotype",
    "get_recipe",
    "get_space",
    "hookimpl",
    "list_algorithms",
    "list_datasets",
    "list_evaluators",
    "list_executors",
    "list_genotypes",
    "list_recipes",
    "list_spaces",
    "load_network",
    "profile_network",
    "profile_space",
    "refresh",
    "register",
    "resume",
    "retrain",
    "search",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        importlib.import_module("nasreg.specs.base")  # before torch: it makes invalid metadata of others harmless
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
