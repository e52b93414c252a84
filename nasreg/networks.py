"""Networks of architectures, to be trained and used: from a run, a file, a published name or a genotype. Imports torch.

What comes out is a plain module (``torch.fx.GraphModule``): it is saved, loaded, exported and trained as any other,
also where nasreg is not installed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from nasreg.draw.network import Block
from nasreg.errors import RunDirectoryError, UnknownNameError, UsageError
from nasreg.nn import extract_space, freeze
from nasreg.registry import Registry, default_registry
from nasreg.resolve import OBJECT, space_component
from nasreg.runs import RunDirectory
from nasreg.specs import (
    NONE,
    Architecture,
    CellDecision,
    CellSpec,
    DataInfo,
    SearchSpaceSpec,
    genotype_architecture,
    parse_genotype,
)


@dataclass(frozen=True)
class Source:
    """An architecture, and the space that it is of."""

    title: str
    """Where it is from, in a few words."""
    space: str
    """Name of the space."""
    options: Mapping[str, Any]
    """Those of the space that it was searched with."""
    architecture: Architecture | None
    genotype: str | None
    """Where there is no architecture: what makes one, once the space is known."""
    run: RunDirectory | None = None

    def decide(self, space: SearchSpaceSpec) -> Architecture:
        """Return the architecture.

        Raises:
            ArchitectureError: It is none of the space.
        """
        if self.architecture is None:
            assert self.genotype is not None  # noqa: S101  # one of the two is there
            return genotype_architecture(space, self.genotype, self.title)
        space.validate(self.architecture)
        return self.architecture


def find_source(
    source: str | Path | Architecture, *, space: str | None = None, registry: Registry | None = None
) -> Source:
    """Find an architecture.

    Args:
        source: A run directory, an ``architecture.json``, the name of a published genotype, the text of a genotype, or
            a file of it (``.txt``), or an ``Architecture``.
        space: Name of its space, where the source does not say (an architecture by itself; ``darts`` by default).
        registry: Where names are looked up; by default what is installed.

    Raises:
        ArchitectureError: It is no architecture, or no genotype.
        RunDirectoryError: It is a run that has none yet, or one of a model of a user's own.
        UnknownNameError: There is nothing of that name.
        UsageError: It is of another space than the one that was named.
    """
    registry = registry or default_registry()
    if isinstance(source, Architecture):
        return Source("the architecture", space or "darts", {}, source, None)
    found = _find(str(source), space or "darts", registry)
    if space not in (None, found.space):
        raise UsageError(f"{found.title} is an architecture of the search space {found.space!r}, not of {space!r}")
    return found


def _find(text: str, space: str, registry: Registry) -> Source:
    if "Genotype(" in text:
        return _of_genotype("the genotype", text, space)
    path = Path(text)
    if not os.path.exists(path):  # Path.exists() raises for a name that is too long
        if path.suffix == ".json":
            Architecture.load(path)  # says what is wrong with it
        if len(path.parts) > 1:
            raise RunDirectoryError(f"there is no run directory or file {path}")
        return _published(text, registry)
    if path.suffix == ".txt":
        return _of_genotype(text, path.read_text(encoding="utf-8", errors="replace"), space)
    if path.is_dir() or (path.is_file() and (path.parent / "run.yaml").is_file()):
        directory = RunDirectory(path if path.is_dir() else path.parent)
        architecture = directory.architecture if path.is_dir() else Architecture.load(path)
        selection = directory.spec.space
        if selection.name.startswith(OBJECT):
            raise RunDirectoryError(
                f"{directory.path} searched a model given from Python ({selection.name.removeprefix(OBJECT)}): build it"
                " there, and make its network with nasreg.freeze(model, architecture)"
            )
        return Source(str(path), selection.name, selection.options, architecture, None, directory)
    return Source(text, space, {}, Architecture.load(path), None)


def _published(name: str, registry: Registry) -> Source:
    try:
        entry = registry.genotype(name)
    except UnknownNameError as error:
        raise UnknownNameError(f"{error} It is no run directory and no architecture.json either.") from error
    return _of_genotype(entry.name, entry.genotype, entry.space)


def _of_genotype(title: str, text: str, space: str) -> Source:
    edges = next(iter(parse_genotype(text, title).values())).edges
    return Source(title, space, {"nodes": max(len(edges) // 2, 1)} if space == "darts" else {}, None, text)


@dataclass(frozen=True)
class NetworkPlan:
    """A network that can be built any number of times."""

    space: SearchSpaceSpec
    """The search space of its architecture."""
    architecture: Architecture
    build: Callable[[], nn.Module]
    """Builds it with new weights."""


def plan_network(
    source: str | Path | Architecture | Source,
    info: DataInfo,
    options: Mapping[str, Any] | None = None,
    *,
    registry: Registry | None = None,
) -> NetworkPlan:
    """Find out all about the network of an architecture that can be wrong; takes and raises as ``build_network``."""
    registry = registry or default_registry()
    found = source if isinstance(source, Source) else find_source(source, registry=registry)
    component = space_component(registry, found.space)
    entry = None if ":" in found.space else registry.space(found.space)
    values = network_options(found, options, registry)
    restrict = entry.capabilities.get("edge_candidates") if entry else None
    with torch.random.fork_rng(), torch.device("meta" if restrict else "cpu"):  # meta: no memory, no time
        space = extract_space(component.build(info, values))
    architecture = found.decide(space)
    if restrict:  # only what was chosen is built: the supernet would be some ten times as large
        values[restrict] = _only(space, architecture)

    def build() -> nn.Module:
        model = component.build(info, values)
        return freeze(model, extract_space(model).architecture(architecture.decisions))

    return NetworkPlan(space, architecture, build)


def build_network(
    source: str | Path | Architecture | Source,
    info: DataInfo,
    options: Mapping[str, Any] | None = None,
    *,
    registry: Registry | None = None,
) -> nn.Module:
    """Build the network of an architecture, with new weights.

    Args:
        source: See ``find_source``, which can also be called before.
        info: The images and classes that it is for.
        options: Options of the space: how deep and wide (``cells``, ``channels``), and what more it offers.
        registry: Where names are looked up.

    Returns:
        A plain module: ``(B, C, H, W)`` images to ``(B, classes)`` logits, where the options do not say otherwise.

    Raises:
        ArchitectureError: The architecture is none of the space.
        ConfigError: An option does not exist or cannot take its value.
        SpaceError: The images are too small for it, or the space cannot be built.
        UnknownNameError: There is no such source or space.
    """
    return plan_network(source, info, options, registry=registry).build()


def network_options(source: Source, options: Mapping[str, Any] | None, registry: Registry) -> dict[str, Any]:
    """Return the options of the space that ``build_network`` builds with: the source's, retraining's, those given."""
    retrain = {} if ":" in source.space else registry.space(source.space).retrain
    return {**source.options, **retrain, **(options or {})}


def _only(space: SearchSpaceSpec, architecture: Architecture) -> dict[str, list[list[str]]]:
    """Return the operation on each edge of each cell, or none."""
    left: dict[str, list[list[str]]] = {}
    for cell in space.choices:
        if isinstance(cell, CellSpec):
            left[cell.key] = [[NONE] for _ in range(cell.n_edges)]
            for node, kept in enumerate(cast("CellDecision", architecture.decisions[cell.key])):
                for operation, source in kept:
                    left[cell.key][cell.edges_into(node)[source]] = [operation]
    return left


@torch.no_grad()
def network_blocks(network: nn.Module, info: DataInfo) -> list[Block]:
    """Return the parts of a network in the order in which they are computed, for ``nasreg.draw.draw_network``.

    Args:
        network: A network; its children are its parts, those of a list each for itself.
        info: The images that it is for.
    """
    images = torch.zeros(1, info.channels, info.height, info.width)
    made: dict[int, tuple[Tensor, str]] = {id(images): (images, "images")}  # held, or an id could come again
    blocks: list[Block] = []

    def note(name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        takes = dict.fromkeys(made[id(each)][1] for each in inputs if id(each) in made)
        shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else ()
        blocks.append(Block(name, tuple(takes), shape, sum(p.numel() for p in module.parameters())))
        if isinstance(output, Tensor):
            made.setdefault(id(output), (output, name))

    parts = [
        (f"{name}.{inner}" if inner else name, module)
        for name, child in network.named_children()
        # fx keeps what was a list as a bare Module, which nobody calls
        for inner, module in (child.named_children() if type(child) in (nn.ModuleList, nn.Module) else [("", child)])
    ]
    hooks = [module.register_forward_hook(partial(note, name)) for name, module in parts]
    was_training = network.training
    try:
        network.eval()(images)
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return blocks
