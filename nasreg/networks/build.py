"""Networks of architectures, to be trained and used. Imports torch.

The result is a plain module (``torch.fx.GraphModule``): it is saved, loaded, exported and trained as any other, also
where nasreg is not installed.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from nasreg.config.sources import SpaceSource
from nasreg.errors import ArchitectureError, NasregError
from nasreg.networks.references import ArchitectureRef, describe_space, find_architecture
from nasreg.nn import deferred_candidates, extract_space, freeze
from nasreg.registry import Registry
from nasreg.specs import Architecture, DataInfo, SearchSpaceSpec
from nasreg.specs.arguments import checked_arguments
from nasreg.specs.formatting import option_text


@dataclass(frozen=True)
class NetworkPlan:
    """A network that can be built any number of times."""

    space: SearchSpaceSpec
    """The search space of its architecture."""
    architecture: Architecture
    build: Callable[[], nn.Module]
    """Builds it with new weights."""


def plan_network(
    source: str | Path | Architecture | ArchitectureRef,
    info: DataInfo,
    options: Mapping[str, Any] | None = None,
    *,
    registry: Registry | None = None,
) -> NetworkPlan:
    """Check everything about the network of an architecture before it is built; see ``build_network``."""
    found = source if isinstance(source, ArchitectureRef) else find_architecture(source, registry=registry)
    values = {**found.options, **found.space.retrain_options, **(options or {})}
    space = describe_space(found.space, values, info)
    try:
        architecture = found.resolve(space)
    except ArchitectureError as error:
        raise ArchitectureError(f"{error}{_remedy(found, values, info)}") from error
    return NetworkPlan(space, architecture, lambda: network_of(found.space, info, values, architecture.decisions))


def _remedy(found: ArchitectureRef, values: Mapping[str, Any], info: DataInfo) -> str:
    """Return which options of the search an architecture needs that these options, such as a recipe's, replace."""
    needed = {
        name: old
        for name, old in found.options.items()
        if values.get(name, old) != old and name not in found.space.retrain_options
    }

    def fits(options: Mapping[str, Any]) -> bool:
        try:
            found.resolve(describe_space(found.space, {**values, **options}, info))
        except NasregError:
            return False
        return True

    if not needed or not fits(needed):
        return ""
    for name in list(needed):
        without = {each: old for each, old in needed.items() if each != name}
        needed = without if fits(without) else needed
    settings = [shlex.quote(f"space.{name}={option_text(old)}") for name, old in needed.items()]
    options = " ".join(f"--set {setting}" for setting in settings)
    return f"; it was searched with other options, so give {options}"


@checked_arguments()
def build_network(
    source: str | Path | Architecture | ArchitectureRef,
    info: DataInfo,
    options: Mapping[str, Any] | None = None,
    *,
    registry: Registry | None = None,
) -> nn.Module:
    """Build the network of an architecture, with new weights.

    Args:
        source: See ``find_architecture``, which can also be called before.
        info: Shape of the images and the classes.
        options: Options of the space: how deep and wide (``cells``, ``channels``), and whatever else it offers.
        registry: Where names are looked up.

    Returns:
        A plain module: ``(B, C, H, W)`` images to ``(B, classes)`` logits, unless the options say otherwise.

    Raises:
        ArchitectureError: The architecture does not belong to the space.
        ConfigError: An option does not exist or has an invalid value.
        IncompatibleError: The space has no networks.
        SpaceError: The images are too small for it, or the space cannot be built.
        UnknownNameError: There is no such source or space.
    """
    return plan_network(source, info, options, registry=registry).build()


def network_of_search(
    source: SpaceSource, info: DataInfo, options: Mapping[str, Any], architecture: Architecture
) -> nn.Module:
    """Build the network of an architecture with new weights, in the form in which its space is retrained.

    Args:
        source: The space.
        info: Shape of the images and the classes.
        options: Options of the space in the search.
        architecture: The architecture.
    """
    return network_of(source, info, {**options, **source.retrain_options}, architecture.decisions)


def network_of(
    source: SpaceSource,
    info: DataInfo,
    options: Mapping[str, Any],
    decisions: Mapping[str, Any],
) -> nn.Module:
    """Build the network of decisions, as a search does for its trials and ``build_network`` for an architecture.

    Args:
        source: The space.
        info: Shape of the images and the classes.
        options: Options of the space.
        decisions: A decision for each choice.
    """
    with deferred_candidates():  # the supernet would be some ten times as large
        model = source.build(info, options)
        return freeze(model, extract_space(model).architecture(decisions), in_place=source.builds_anew)
