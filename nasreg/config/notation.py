"""Architectures as text: in the notation of their space if it has one, else as a genotype. Imports no torch."""

from __future__ import annotations

from nasreg.errors import NasregError
from nasreg.registry import Registry, default_registry
from nasreg.specs.architecture import Architecture
from nasreg.specs.entries import SpaceEntry
from nasreg.specs.genotype import genotype_architecture, genotype_text
from nasreg.specs.references import RegisteredRef, parse_reference
from nasreg.specs.space import SearchSpaceSpec


def architecture_text(space: SearchSpaceSpec, architecture: Architecture, entry: SpaceEntry | None) -> str | None:
    """Return an architecture in the text form in which it is published.

    Args:
        space: The search space.
        architecture: One of its architectures.
        entry: The entry of the space in the registry, if it has one.

    Returns:
        The text; None where the space has no notation and holds anything but cells of the form of DARTS.
    """
    if entry is not None and entry.notation is not None:
        return entry.notation.text(space, architecture)
    return genotype_text(space, architecture)


def architecture_from_text(space: SearchSpaceSpec, text: str, entry: SpaceEntry | None, source: str) -> Architecture:
    """Return the architecture that a text describes, the inverse of ``architecture_text``.

    Args:
        space: The search space.
        text: A text in the notation of the space, or a genotype.
        entry: The entry of the space in the registry, if it has one.
        source: Where the text is from, for the error.

    Raises:
        ArchitectureError: It is malformed, or no architecture of this space.
    """
    if entry is not None and entry.notation is not None and entry.notation.matches(text):
        return entry.notation.architecture(space, text, source)
    return genotype_architecture(space, text, source)


def noted_spaces(registry: Registry, text: str) -> list[str]:
    """Return the names of the registered spaces in whose notation a text is written, or is meant to be."""
    entries = [registry.space(name) for name in registry.spaces()]
    return [entry.name for entry in entries if entry.notation is not None and entry.notation.matches(text)]


def recorded_entry(reference: str, registry: Registry | None = None) -> SpaceEntry | None:
    """Return the entry of a space that a run records; None for a user's own space, or one that is not installed now."""
    if not isinstance(parse_reference(reference), RegisteredRef):
        return None
    try:
        return (registry or default_registry()).space(reference)
    except NasregError:  # what a run directory holds can be shown without the plugin
        return None
