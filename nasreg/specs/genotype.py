"""The genotype: the pair of cells of a DARTS-style architecture, in the text form of the authors' programs."""

from __future__ import annotations

from nasreg.specs.architecture import Architecture
from nasreg.specs.space import CellSpec, SearchSpaceSpec


def genotype_text(space: SearchSpaceSpec, architecture: Architecture) -> str | None:
    """Return ``Genotype(normal=[('sep_conv_3x3', 1), ...], normal_concat=range(2, 6), reduce=[...], ...)``.

    Args:
        space: The space of the architecture.
        architecture: One with decisions for cells.

    Returns:
        The text, or None where the space holds anything but cells.
    """
    cells = [choice for choice in space.choices if isinstance(choice, CellSpec)]
    if not cells or len(cells) != len(space.choices):
        return None
    parts = []
    for cell in cells:
        edges = [edge for node in architecture.decisions[cell.key] for edge in node]
        parts.append(f"{cell.key}={edges!r}, {cell.key}_concat={_states(cell.concat)}")
    return f"Genotype({', '.join(parts)})"


def _states(states: tuple[int, ...]) -> str:
    run = range(states[0], states[0] + len(states))
    return repr(run) if tuple(run) == states else repr(list(states))
