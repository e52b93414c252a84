"""The core's own plugin module: its entries come through the same hooks as those of any plugin. Imports no torch.

The registry loads it by name, since spaces and data sets lie above the registry.
"""

from __future__ import annotations

from collections.abc import Iterable

from nasreg.data.entries import DATASETS
from nasreg.hookspecs import hookimpl
from nasreg.spaces.entries import SPACES
from nasreg.spaces.genotypes import GENOTYPES
from nasreg.spaces.recipes import RECIPES
from nasreg.specs.algorithm import DEFAULT_EVALUATOR
from nasreg.specs.entries import (
    DatasetEntry,
    EvaluatorSpec,
    ExecutorEntry,
    GenotypeEntry,
    RecipeEntry,
    SpaceEntry,
)
from nasreg.specs.plugin import PLUGIN_API, PluginInfo


@hookimpl
def nasreg_plugin() -> PluginInfo:
    """Return the version of the contract, which is always the newest one, and what nasreg is."""
    return PluginInfo(api=PLUGIN_API, summary="search spaces, data sets and genotypes that come with nasreg")


@hookimpl
def nasreg_spaces() -> Iterable[SpaceEntry]:
    """Return the built-in search spaces."""
    return SPACES


@hookimpl
def nasreg_datasets() -> Iterable[DatasetEntry]:
    """Return the built-in data sets."""
    return DATASETS


@hookimpl
def nasreg_evaluators() -> Iterable[EvaluatorSpec]:
    """Return the evaluator of multi-trial algorithms that name none, and the one that scores with a supernet."""
    return [
        EvaluatorSpec(
            name=DEFAULT_EVALUATOR,
            summary="trains the network of each proposal for some epochs and scores it on the validation split",
            factory="nasreg.evaluators:TrainingEvaluator",
            config="nasreg.evaluators:TrainingEvaluatorConfig",
            needs=frozenset({"data", "network"}),
            splits=frozenset({"validation"}),
            fidelity=True,
        ),
        EvaluatorSpec(
            name="supernet",
            summary="scores each proposal on the validation split with the weights of a supernet: one that it trains"
            " first along single paths, or that of a finished run",
            paper="Guo, Zhang, Mu, Heng, Liu, Wei, Sun: Single Path One-Shot Neural Architecture Search with Uniform"
            " Sampling, https://arxiv.org/abs/1904.00420",
            factory="nasreg.evaluators:SupernetEvaluator",
            config="nasreg.evaluators:SupernetEvaluatorConfig",
            needs=frozenset({"data", "network"}),
            splits=frozenset({"validation"}),
        ),
    ]


@hookimpl
def nasreg_executors() -> Iterable[ExecutorEntry]:
    """Return the executors of this machine."""
    return [
        ExecutorEntry(
            name="serial",
            summary="one after the other in this process",
            factory="nasreg.executors:SerialExecutor",
        ),
        ExecutorEntry(
            name="processes",
            summary="in worker processes of this machine, each with its part of the cores and a device",
            factory="nasreg.executors:process_executor",
        ),
    ]


@hookimpl
def nasreg_genotypes() -> Iterable[GenotypeEntry]:
    """Return the published architectures of the built-in spaces."""
    return GENOTYPES


@hookimpl
def nasreg_recipes() -> Iterable[RecipeEntry]:
    """Return the recipes for networks of the built-in spaces."""
    return RECIPES
