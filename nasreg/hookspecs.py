"""The hooks of nasreg: what a plugin module may define, marked with ``@hookimpl``. A hook returns data, no more.

A plugin is a module named by an entry point of the group ``nasreg``; it should import no torch. Each hook is called
once, at the first look-up.

Example:
    >>> from nasreg.hookspecs import hookimpl
    >>> @hookimpl
    ... def nasreg_plugin():
    ...     return PluginInfo(api=2)
    >>> @hookimpl
    ... def nasreg_algorithms():
    ...     return [SPEC]
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from nasreg.specs.algorithm import AlgorithmSpec
from nasreg.specs.entries import (
    DatasetEntry,
    EvaluatorSpec,
    ExecutorEntry,
    GenotypeEntry,
    RecipeEntry,
    RenamedEntry,
    SpaceEntry,
)
from nasreg.specs.plugin import PluginInfo

hookspec = pluggy.HookspecMarker("nasreg")
hookimpl = pluggy.HookimplMarker("nasreg")
"""Marks a function of a plugin module as an implementation of the hook of the same name."""


@hookspec
def nasreg_plugin() -> PluginInfo:  # type: ignore[empty-body]  # a specification has no body
    """Return the version of the contract that the plugin was written for. Every plugin must have this hook."""


@hookspec
def nasreg_algorithms() -> Iterable[AlgorithmSpec]:  # type: ignore[empty-body]
    """Return the NAS algorithms of this plugin."""


@hookspec
def nasreg_spaces() -> Iterable[SpaceEntry]:  # type: ignore[empty-body]
    """Return the search spaces of this plugin."""


@hookspec
def nasreg_datasets() -> Iterable[DatasetEntry]:  # type: ignore[empty-body]
    """Return the data sets of this plugin."""


@hookspec
def nasreg_evaluators() -> Iterable[EvaluatorSpec]:  # type: ignore[empty-body]
    """Return the evaluators of this plugin, which give the proposals of multi-trial algorithms their scores."""


@hookspec
def nasreg_executors() -> Iterable[ExecutorEntry]:  # type: ignore[empty-body]
    """Return the executors of this plugin, which say where trials, and the runs of a study, are computed."""


@hookspec
def nasreg_genotypes() -> Iterable[GenotypeEntry]:  # type: ignore[empty-body]
    """Return the published architectures of this plugin."""


@hookspec
def nasreg_recipes() -> Iterable[RecipeEntry]:  # type: ignore[empty-body]
    """Return the recipes of this plugin: settings of a retraining, such as those of a paper."""


@hookspec
def nasreg_renamed() -> Iterable[RenamedEntry]:  # type: ignore[empty-body]
    """Return the entries of this plugin that had another name in earlier versions."""
