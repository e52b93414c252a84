"""References to architectures: a run, a file, a published genotype, the text of one, an object. Imports torch."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic_core import to_jsonable_python
from torch import nn

from nasreg.config.lookup import find_space, space_source
from nasreg.config.notation import architecture_from_text, noted_spaces
from nasreg.config.sources import SpaceSource
from nasreg.errors import ArchitectureError, ConfigError, RunDirectoryError, UnknownNameError, UsageError
from nasreg.nn import deferred_candidates, extract_space
from nasreg.registry import Registry, default_registry
from nasreg.runs.directory import RunDirectory, architecture_in_run, run_of_file
from nasreg.specs import (
    Architecture,
    CellSpec,
    DataInfo,
    SearchSpaceSpec,
    parse_genotype,
)
from nasreg.specs.arguments import checked_arguments
from nasreg.specs.entries import SpaceEntry
from nasreg.specs.genotype import LONGEST, genotype_cells, holds_genotype
from nasreg.specs.references import ObjectRef

EXAMPLE_INFO = DataInfo(channels=3, height=32, width=32, classes=tuple("0123456789"))
"""Shape of the images and number of classes where no data are loaded: those of CIFAR-10."""

WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".pt2", ".onnx")
"""Suffixes of files with weights, which are often given in place of an architecture."""


@dataclass(frozen=True)
class ArchitectureRef:
    """An architecture, and the space that it belongs to."""

    title: str
    """Where it comes from."""
    space: SpaceSource
    options: Mapping[str, Any]
    """Options of the space that it was searched with."""
    architecture: Architecture | None
    genotype: str | None
    """A genotype, or a text in the notation of the space: the architecture follows once the space is known."""
    run: RunDirectory | None = None

    def resolve(self, space: SearchSpaceSpec) -> Architecture:
        """Return the architecture.

        Raises:
            ArchitectureError: It does not belong to the space.
        """
        if self.architecture is None:
            return architecture_from_text(space, self.genotype or "", self.space.entry, self.title)
        space.validate(self.architecture)
        return self.architecture


@checked_arguments("space")
def find_architecture(
    source: str | Path | Architecture,
    *,
    space: str | nn.Module | Callable[..., nn.Module] | None = None,
    registry: Registry | None = None,
) -> ArchitectureRef:
    """Find an architecture.

    Args:
        source: A run directory, an ``architecture.json``, the name of a published genotype, the text of a genotype or
            one in the notation of its space, or a text file with one, such as a log, or an ``Architecture``.
        space: Reference to its space, or the class, function or model itself, if the source does not say; by default
            the registered space that it fits.
        registry: Where names are looked up; by default what is installed.

    Raises:
        ArchitectureError: It is no architecture, or no genotype.
        ConfigError: It fits no registered space, or several.
        RunDirectoryError: It is a run without an architecture, or one over a Python object.
        UnknownNameError: There is nothing of that name.
        UsageError: It belongs to another space than ``space``.
    """
    registry = registry or default_registry()
    chosen = None if space is None else space_source(registry, space)
    if isinstance(source, Architecture):
        return _of_architecture("the architecture", source, chosen, registry)
    found = _find(str(source), chosen, registry)
    if chosen is not None and chosen.reference != found.space.reference:
        raise UsageError(
            f"{found.title} is an architecture of the search space {found.space.reference.text!r}, not of"
            f" {(space if isinstance(space, str) else chosen.reference.text)!r}"
        )
    return found


def _find(text: str, space: SpaceSource | None, registry: Registry) -> ArchitectureRef:
    if holds_genotype(text):
        return _of_genotype("the genotype", text, space, registry)
    if noted_spaces(registry, text):
        return _of_notation(text, text, space, registry)
    if not text:
        raise UsageError("the architecture is an empty text: give a run directory, a file or the name of a genotype")
    path = Path(text)
    if not os.path.exists(path):  # Path.exists() raises for a name that is too long
        if path.suffix == ".json":
            Architecture.load(path)  # raises, with the reason
        if len(path.parts) > 1 and not _is_published(text, registry):
            raise RunDirectoryError(f"there is no run directory or file {path}")
        return _published(text, registry)
    if path.suffix in WEIGHT_SUFFIXES:
        raise ArchitectureError(
            f"{path} has the weights of a network, not an architecture: give the run directory of its training"
        )
    directory = RunDirectory(path) if path.is_dir() else run_of_file(path)
    if directory is not None:
        selection = directory.spec.space
        if space is not None and isinstance(selection.reference, ObjectRef):
            source = space  # of a Python object only its label is recorded
        else:
            source = find_space(registry, selection.name, directory.import_path)
        return ArchitectureRef(text, source, selection.options, architecture_in_run(directory, path), None, directory)
    if path.suffix != ".json":
        content = _beginning(path)
        of_text = _of_notation if noted_spaces(registry, content) else _of_genotype
        return of_text(text, content, space, registry)
    return _of_architecture(text, Architecture.load(path), space, registry)


def _beginning(path: Path) -> str:
    """Return a text file as far as a genotype is read."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(LONGEST + 1)
    except OSError as error:
        raise ArchitectureError(f"cannot read {path}: {error.strerror}") from error


def _is_published(name: str, registry: Registry) -> bool:
    try:
        registry.genotype(name)
    except UnknownNameError:
        return False
    return True


def _published(name: str, registry: Registry) -> ArchitectureRef:
    try:
        entry = registry.genotype(name)
    except UnknownNameError as error:
        raise UnknownNameError(f"{error} It is no run directory and no architecture.json either.") from error
    source = find_space(registry, entry.space)
    of_text = _of_notation if _notes(source, entry.genotype) else _of_genotype
    return of_text(entry.name, entry.genotype, source, registry)


def _of_architecture(
    title: str, architecture: Architecture, space: SpaceSource | None, registry: Registry
) -> ArchitectureRef:
    source = space or _fitting(title, registry, _validates(architecture))
    return ArchitectureRef(title, source, {}, architecture, None)


def _validates(architecture: Architecture) -> Callable[[SearchSpaceSpec], bool]:
    return lambda space: space.fingerprint == architecture.fingerprint


def _of_notation(title: str, text: str, space: SpaceSource | None, registry: Registry) -> ArchitectureRef:
    if space is None:
        names = noted_spaces(registry, text)
        if len(names) > 1:
            raise ConfigError(
                f"{title} may be in the notation of several search spaces: name one with --space (from Python"
                f" space=...): {', '.join(names)}"
            )
        space = find_space(registry, names[0])
    notation = None if space.entry is None else space.entry.notation
    if notation is None or not notation.matches(text):
        raise ConfigError(f"{title} is not in a notation of the search space {space.reference.text!r}")
    options = notation.space_options(text, title)
    found = ArchitectureRef(title, space, options, None, text.strip())
    found.resolve(describe_space(space, options))  # a malformed text is refused at once
    return found


def _notes(space: SpaceSource, text: str) -> bool:
    """Return whether a text is meant to be in the notation of a space."""
    return space.entry is not None and space.entry.notation is not None and space.entry.notation.matches(text)


def _of_genotype(title: str, text: str, space: SpaceSource | None, registry: Registry) -> ArchitectureRef:
    cells = parse_genotype(text, title)

    def fits(spec: SearchSpaceSpec) -> bool:
        known = {cell.key for cell in genotype_cells(spec)}
        return len(known) == len(spec.choices) and set(cells) <= known

    source = space or _fitting(title, registry, fits)
    options: dict[str, Any] = {}
    nodes_option = source.capabilities.get("nodes")
    if nodes_option is not None:
        key, cell = next(iter(cells.items()))
        choice = next((choice for choice in genotype_cells(_default_space(source)) if choice.key == key), None)
        if choice is not None:
            options[nodes_option] = _node_count(choice, len(cell.edges))
    return ArchitectureRef(title, source, options, None, text)


def _node_count(cell: CellSpec, edges: int) -> int:
    """Return how many nodes a cell of this kind has that keeps so many edges."""
    nodes = kept = 0
    while kept < edges:
        kept += min(cell.edges_kept, cell.inputs + nodes)
        nodes += 1
    return max(nodes, 1)


def _fitting(title: str, registry: Registry, fits: Callable[[SearchSpaceSpec], bool]) -> SpaceSource:
    """Return the one registered space, with its default options, that an architecture fits."""
    sources = [find_space(registry, name) for name in registry.spaces()]
    found = [source for source in sources if fits(_default_space(source))]
    if len(found) != 1:
        names = ", ".join(source.reference.title for source in found or sources)
        problem = "fits several search spaces" if found else "fits no search space with its default options"
        raise ConfigError(f"{title} {problem}: name its space with --space (from Python space=...), one of: {names}")
    return found[0]


def _default_space(source: SpaceSource) -> SearchSpaceSpec:
    """Return the choices of a space with its default options."""
    return describe_space(source, {})


MAX_DESCRIBED = 64
"""Registered spaces that a process remembers the choices of."""

_described: dict[tuple[int, str, DataInfo], tuple[SpaceEntry, SearchSpaceSpec]] = {}
"""Identity of an entry, options as JSON, images -> the entry, which keeps the identity its own, and the choices."""


def describe_space(source: SpaceSource, options: Mapping[str, Any], info: DataInfo = EXAMPLE_INFO) -> SearchSpaceSpec:
    """Return the choices of a space; a registered one is built once in a process for the same options and images.

    Args:
        source: The space.
        options: Its options.
        info: Shape of the images.

    Raises:
        NasregError: As ``SpaceSource.build``, or the space has no choice.
    """
    entry = source.entry
    if not source.has_network:
        return source.describe(info, options)
    if entry is None:
        return _extracted(source, options, info, "cpu")
    key = id(entry), json.dumps(to_jsonable_python(options), sort_keys=True), info
    if key not in _described:
        if len(_described) >= MAX_DESCRIBED:
            _described.clear()
        # without memory and time; the user's own code may not be written for that
        with deferred_candidates():
            _described[key] = entry, _extracted(source, options, info, "meta")
    return _described[key][1]


def _extracted(source: SpaceSource, options: Mapping[str, Any], info: DataInfo, device: str) -> SearchSpaceSpec:
    with torch.random.fork_rng(), torch.device(device):
        return extract_space(source.build(info, options))
