"""The pydantic models that all other packages share. Nothing in here imports torch.

Each name is loaded when it is first used: building all the models would take most of the time of a look-up.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasreg.specs.algorithm import (
        PRIMITIVES,
        AlgorithmSpec,
        MutatorSpec,
        Preset,
        TrainerSpec,
    )
    from nasreg.specs.architecture import Architecture, CellDecision, Decision, Edge, InputDecision
    from nasreg.specs.base import Config, Spec
    from nasreg.specs.data import DataInfo
    from nasreg.specs.domains import Step
    from nasreg.specs.entries import (
        Component,
        DatasetEntry,
        EvaluatorConfig,
        EvaluatorSpec,
        ExecutorEntry,
        GenotypeEntry,
        Need,
        RecipeEntry,
        RenamedEntry,
        SpaceEntry,
        Split,
    )
    from nasreg.specs.front import Front, crowding_distances, dominates, non_dominated_sort
    from nasreg.specs.genotype import genotype_architecture, genotype_text, parse_genotype
    from nasreg.specs.metrics import Fact, MetricSpec
    from nasreg.specs.notation import Notation
    from nasreg.specs.plugin import OLDEST_PLUGIN_API, PLUGIN_API, PluginInfo
    from nasreg.specs.retrain import RetrainSpec
    from nasreg.specs.run import RunSpec, Selection
    from nasreg.specs.schema import json_schema
    from nasreg.specs.space import (
        NONE,
        SKIP,
        AnyChoiceSpec,
        CellSpec,
        ChoiceSpec,
        InputChoiceSpec,
        LayerChoiceSpec,
        RepeatSpec,
        SearchSpaceSpec,
        ValueChoiceSpec,
    )
    from nasreg.specs.trial import COSTS, LATENCY, MACS, PARAMETERS, SIMULATED_SECONDS, Proposal, Score, Trial

_HOMES = {
    "algorithm": (
        "PRIMITIVES",
        "AlgorithmSpec",
        "MutatorSpec",
        "Preset",
        "TrainerSpec",
    ),
    "architecture": ("Architecture", "CellDecision", "Decision", "Edge", "InputDecision"),
    "base": ("Config", "Spec"),
    "data": ("DataInfo",),
    "domains": ("Step",),
    "entries": (
        "Component",
        "DatasetEntry",
        "EvaluatorConfig",
        "EvaluatorSpec",
        "ExecutorEntry",
        "GenotypeEntry",
        "Need",
        "RecipeEntry",
        "RenamedEntry",
        "SpaceEntry",
        "Split",
    ),
    "front": ("Front", "crowding_distances", "dominates", "non_dominated_sort"),
    "genotype": ("genotype_architecture", "genotype_text", "parse_genotype"),
    "metrics": ("Fact", "MetricSpec"),
    "notation": ("Notation",),
    "plugin": ("OLDEST_PLUGIN_API", "PLUGIN_API", "PluginInfo"),
    "retrain": ("RetrainSpec",),
    "run": ("RunSpec", "Selection"),
    "schema": ("json_schema",),
    "space": (
        "NONE",
        "SKIP",
        "AnyChoiceSpec",
        "CellSpec",
        "ChoiceSpec",
        "InputChoiceSpec",
        "LayerChoiceSpec",
        "RepeatSpec",
        "SearchSpaceSpec",
        "ValueChoiceSpec",
    ),
    "trial": ("COSTS", "LATENCY", "MACS", "PARAMETERS", "SIMULATED_SECONDS", "Proposal", "Score", "Trial"),
}
_HOME = {name: f"nasreg.specs.{module}" for module, names in _HOMES.items() for name in names}

__all__ = [
    "COSTS",
    "LATENCY",
    "MACS",
    "NONE",
    "OLDEST_PLUGIN_API",
    "PARAMETERS",
    "PLUGIN_API",
    "PRIMITIVES",
    "SIMULATED_SECONDS",
    "SKIP",
    "AlgorithmSpec",
    "AnyChoiceSpec",
    "Architecture",
    "CellDecision",
    "CellSpec",
    "ChoiceSpec",
    "Component",
    "Config",
    "DataInfo",
    "DatasetEntry",
    "Decision",
    "Edge",
    "EvaluatorConfig",
    "EvaluatorSpec",
    "ExecutorEntry",
    "Fact",
    "Front",
    "GenotypeEntry",
    "InputChoiceSpec",
    "InputDecision",
    "LayerChoiceSpec",
    "MetricSpec",
    "MutatorSpec",
    "Need",
    "Notation",
    "PluginInfo",
    "Preset",
    "Proposal",
    "RecipeEntry",
    "RenamedEntry",
    "RepeatSpec",
    "RetrainSpec",
    "RunSpec",
    "Score",
    "SearchSpaceSpec",
    "Selection",
    "SpaceEntry",
    "Spec",
    "Split",
    "Step",
    "TrainerSpec",
    "Trial",
    "ValueChoiceSpec",
    "crowding_distances",
    "dominates",
    "genotype_architecture",
    "genotype_text",
    "json_schema",
    "non_dominated_sort",
    "parse_genotype",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return found


def __dir__() -> list[str]:
    return __all__
