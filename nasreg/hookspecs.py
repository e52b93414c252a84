"""The hooks of nasreg: what a plugin module may define, marked with ``@hookimpl``. A hook returns data, no more.

A plugin is a module named by an entry point of the group ``nasreg``; it should import no torch.

Example:
    >>> from nasreg.hookspecs import hookimpl
    >>> @hookimpl
    ... def nasreg_algorithms():
    ...     return [SPEC]
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from nasreg.specs.algorithm import AlgorithmSpec, DatasetEntry, GenotypeEntry, SpaceEntry

hookspec = pluggy.HookspecMarker("nasreg")
hookimpl = pluggy.HookimplMarker("nasreg")
"""Marks a function of a plugin module as an implementation of the hook of the same name."""


@hookspec
def nasreg_algorithms() -> Iterable[AlgorithmSpec]:  # type: ignore[empty-body]  # a specification has no body
    """Return the NAS algorithms of this plugin. Called once, at the first look-up."""


@hookspec
def nasreg_spaces() -> Iterable[SpaceEntry]:  # type: ignore[empty-body]
    """Return the search spaces of this plugin. Called once, at the first look-up."""


@hookspec
def nasreg_datasets() -> Iterable[DatasetEntry]:  # type: ignore[empty-body]
    """Return the data sets of this plugin. Called once, at the first look-up."""


@hookspec
def nasreg_genotypes() -> Iterable[GenotypeEntry]:  # type: ignore[empty-body]
    """Return the published architectures of this plugin. Called once, at the first look-up."""
