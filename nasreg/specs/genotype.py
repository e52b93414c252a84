"""The genotype: the cells of a DARTS-style architecture, in the text form of the authors' programs. Imports no torch.

The text is read as data. It looks like Python, but nothing of it is ever evaluated.
"""

from __future__ import annotations

import ast
import warnings
from typing import NamedTuple, cast

from nasreg.errors import ArchitectureError
from nasreg.specs.architecture import Architecture, CellDecision, Edge
from nasreg.specs.space import CellSpec, SearchSpaceSpec

LONGEST = 20_000
"""Characters of the longest text that is looked at."""

_HIGHEST_STATE = 1000


class GenotypeCell(NamedTuple):
    """The part of a genotype for one kind of cell."""

    edges: tuple[Edge, ...]
    """Operation and source state of each kept edge, node by node."""
    concat: tuple[int, ...]
    """The states that make the output."""


def genotype_text(space: SearchSpaceSpec, architecture: Architecture) -> str | None:
    """Return ``Genotype(normal=[('sep_conv_3x3', 1), ...], normal_concat=range(2, 6), reduce=[...], ...)``.

    Args:
        space: The space of the architecture.
        architecture: One with decisions for cells.

    Returns:
        The text, or None where the space holds anything but cells of the form of DARTS.
    """
    cells = genotype_cells(space)
    if not cells or len(cells) != len(space.choices):
        return None
    parts = []
    for cell in cells:
        edges = [edge for node in cast("CellDecision", architecture.decisions[cell.key]) for edge in node]
        parts.append(f"{cell.key}={edges!r}, {cell.key}_concat={_states(cell.concat)}")
    return f"Genotype({', '.join(parts)})"


def genotype_cells(space: SearchSpaceSpec) -> list[CellSpec]:
    """Return the cells that a genotype can describe: those of the form of DARTS."""
    return [choice for choice in space.choices if isinstance(choice, CellSpec) and choice.primitive == "cell"]


def parse_genotype(text: str, source: str = "the genotype") -> dict[str, GenotypeCell]:
    """Read a genotype as ``genotype_text`` and the authors' programs write it, also with ``NAME = `` before it.

    Args:
        text: The text.
        source: Where it is from, for the error.

    Returns:
        Key of a cell (``normal``, ``reduce``) -> what it says of it.

    Raises:
        ArchitectureError: It is no genotype.
    """
    try:
        return _cells(_call(text))
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__
        raise ArchitectureError(
            f"{source} is not a genotype: {reason}; expected Genotype(normal=[('sep_conv_3x3', 1), ...],"
            " normal_concat=range(2, 6), reduce=[...], reduce_concat=range(2, 6))"
        ) from error


def genotype_architecture(space: SearchSpaceSpec, text: str, source: str = "the genotype") -> Architecture:
    """Return the architecture that a genotype describes.

    Args:
        space: A space of cells.
        text: The genotype.
        source: Where it is from, for the error.

    Raises:
        ArchitectureError: It is no genotype, or none of this space.
    """
    found = parse_genotype(text, source)
    decisions: dict[str, CellDecision] = {}
    cells = {cell.key: cell for cell in genotype_cells(space)}
    for key, (edges, concat) in found.items():
        cell = cells.get(key)
        if cell is None:
            raise ArchitectureError(
                f"{source} has cell {key!r}, but no cell of the search space with that key can have a genotype"
            )
        wanted = sum(cell.kept(node) for node in range(cell.nodes))
        if len(edges) != wanted:
            raise ArchitectureError(
                f"{source}: cell {key!r} has {len(edges)} edges, but the search space keeps {wanted}"
            )
        if concat != cell.concat:
            raise ArchitectureError(
                f"{source}: the output of cell {key!r} is made of states {list(concat)}, but in the search space of"
                f" {list(cell.concat)}"
            )
        left = iter(edges)
        decisions[key] = tuple(tuple(next(left) for _ in range(cell.kept(node))) for node in range(cell.nodes))
    return space.architecture(decisions)


def _states(states: tuple[int, ...]) -> str:
    run = range(states[0], states[0] + len(states))
    return repr(run) if tuple(run) == states else repr(list(states))


def _call(text: str) -> ast.Call:
    if len(text) > LONGEST:
        raise ValueError(f"it is longer than {LONGEST} characters")
    with warnings.catch_warnings():  # of Python, on text that is refused below or harmless
        warnings.simplefilter("ignore")
        body = ast.parse(text.strip()).body
    statement = body[0] if len(body) == 1 else None
    value = statement.value if isinstance(statement, ast.Expr | ast.Assign) else None
    if not (isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "Genotype"):
        raise ValueError("it is not one Genotype(...)")
    return value


def _cells(call: ast.Call) -> dict[str, GenotypeCell]:
    parts = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    keys = [name for name in parts if not name.endswith("_concat")]
    if call.args or not keys or sorted(parts) != sorted([*keys, *(f"{key}_concat" for key in keys)]):
        raise ValueError("its parts must be NAME=[...] and NAME_concat=... for each kind of cell")
    return {key: GenotypeCell(_edges(key, parts[key]), _concat(parts[f"{key}_concat"])) for key in keys}


def _edges(key: str, node: ast.expr) -> tuple[Edge, ...]:
    edges = ast.literal_eval(node)
    if not isinstance(edges, list | tuple):
        raise ValueError(f"{key} is not a list")  # noqa: TRY004  # what is wrong is the text
    for edge in edges:
        if not (isinstance(edge, tuple | list) and len(edge) == 2 and [type(part) for part in edge] == [str, int]):
            raise ValueError(f"{key} has {edge!r}, which is not (operation, state)")
    return tuple((operation, state) for operation, state in edges)


def _concat(node: ast.expr) -> tuple[int, ...]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range" and not node.keywords:
        bounds = [ast.literal_eval(argument) for argument in node.args]
        if not 1 <= len(bounds) <= 2 or not all(
            type(bound) is int and 0 <= bound <= _HIGHEST_STATE for bound in bounds
        ):
            raise ValueError("a range must be range(FIRST, END)")
        return tuple(range(*bounds))
    states = ast.literal_eval(node)
    if not isinstance(states, list | tuple) or not all(type(state) is int for state in states):
        raise ValueError("the states of the output must be range(FIRST, END) or a list of numbers")
    return tuple(states)
