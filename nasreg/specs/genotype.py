"""The genotype: the cells of a DARTS-style architecture, in the text form of the authors' programs. Imports no torch.

The text is read as data. It looks like Python, but nothing of it is ever evaluated. It may stand in a line of a log or
in a file of Python code, be broken into lines anywhere, group the edges by node as pt.darts does, and have numbers of
numpy.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from nasreg.errors import ArchitectureError
from nasreg.specs.architecture import Architecture, CellDecision, Edge
from nasreg.specs.space import CellSpec, SearchSpaceSpec

LONGEST = 20_000
"""Characters of the longest text that is looked at."""

_HIGHEST_STATE = 1000
_POSITIONS = ("normal", "normal_concat", "reduce", "reduce_concat")
"""The parts without a name, in the order of the authors' named tuple."""

_NAME = re.compile(r"\bGenotype\s*\(")
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
_ASSIGNED = re.compile(r"(\w+)\s*=\s*(?:\w+\.)*$")
_AFTER = re.compile(r"""[\s'"`,;.]*(?:\#.*)?""")
"""What may follow in the same line: the end of a sentence or of a quotation, or a comment."""
_NUMBERS = re.compile(r"u?int\d*|str_?|array|tensor|list|tuple")
"""Functions whose value is that of their argument, such as ``np.int64(2)`` and ``list(range(2, 6))``."""


class _CellText(NamedTuple):
    edges: tuple[Edge, ...]
    concat: tuple[int, ...]
    sizes: tuple[int, ...] | None
    """How many edges each node keeps, where the text groups them by node."""


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


def holds_genotype(text: str) -> bool:
    """Return whether a text is meant to be a genotype, or to hold one."""
    return _NAME.search(text) is not None


def parse_genotype(text: str, source: str = "the genotype") -> dict[str, GenotypeCell]:
    """Read a genotype as ``genotype_text`` and the authors' programs write it, also in a line of a log.

    Args:
        text: The text; what stands before and after its only ``Genotype(...)`` does not matter.
        source: Where it is from, for the error.

    Returns:
        Key of a cell (``normal``, ``reduce``) -> what it says of it.

    Raises:
        ArchitectureError: It is no genotype.
    """
    return {key: GenotypeCell(cell.edges, cell.concat) for key, cell in _read(text, source).items()}


def _read(text: str, source: str) -> dict[str, _CellText]:
    try:
        return _cells(_call(text))
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else (str(error) or type(error).__name__)[:120]
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
    found = _read(text, source)
    decisions: dict[str, CellDecision] = {}
    cells = {cell.key: cell for cell in genotype_cells(space)}
    for key, (edges, concat, sizes) in found.items():
        cell = cells.get(key)
        if cell is None:
            raise ArchitectureError(
                f"{source} has cell {key!r}, but no cell of the search space with that key can have a genotype"
            )
        kept = tuple(cell.kept(node) for node in range(cell.nodes))
        wanted = sum(kept)
        if sizes is not None and sizes != kept:
            raise ArchitectureError(
                f"{source}: the nodes of cell {key!r} have {', '.join(map(str, sizes))} edges, but the search space"
                f" keeps {', '.join(map(str, kept))}"
            )
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
        decisions[key] = tuple(tuple(next(left) for _ in range(number)) for number in kept)
    return space.architecture(decisions)


def _states(states: tuple[int, ...]) -> str:
    run = range(states[0], states[0] + len(states))
    return repr(run) if tuple(run) == states else repr(list(states))


def _call(text: str) -> ast.Call:
    """Return the only call of ``Genotype`` in a text, parsed."""
    if len(text) > LONGEST:
        raise ValueError(f"it is longer than {LONGEST} characters")
    text = _ESCAPES.sub("", text)
    names, calls, end = [], [], 0
    for found in _NAME.finditer(text):
        if found.start() < end:
            continue
        call, end = _balanced(text, found.start())
        line, _, _ = text[end:].partition("\n")
        if not _AFTER.fullmatch(line):
            raise ValueError(f"after Genotype(...) stands {line.strip()[:40]!r}")
        if call not in calls:
            calls.append(call)
            assigned = _ASSIGNED.search(text[: found.start()].rpartition("\n")[2])
            names.append(assigned[1] if assigned else "one without a name")
    if len(calls) != 1:
        found_names = f"it has {len(calls)} different ones ({', '.join(names[:5])}): give one of them"
        raise ValueError(found_names if calls else "it is not one Genotype(...)")
    with warnings.catch_warnings():  # of Python, on text that is refused below or harmless
        warnings.simplefilter("ignore")
        value = ast.parse(calls[0], mode="eval").body
    if not isinstance(value, ast.Call):
        raise ValueError("it is not one Genotype(...)")  # noqa: TRY004  # what is wrong is the text
    return value


def _balanced(text: str, start: int) -> tuple[str, int]:
    """Return a call from its name to the bracket that closes it, and where that is; strings have no line breaks."""
    depth, quote = 0, ""
    letters: list[str] = []
    position = start
    while position < len(text):
        letter = text[position]
        if letter == "\n":  # wrapped by a terminal or an editor, with the white space of its margins
            if quote:
                while letters and letters[-1].isspace():
                    letters.pop()
                while position + 1 < len(text) and text[position + 1].isspace():
                    position += 1
            else:
                letters.append(" ")
            position += 1
            continue
        if letter == "#" and not quote:  # a comment ends with its line
            position = next((at for at in range(position, len(text)) if text[at] == "\n"), len(text))
            continue
        letters.append(letter)
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
            if depth == 0:
                return "".join(letters), position + 1
        position += 1
    raise ValueError("its last bracket is missing")


def _cells(call: ast.Call) -> dict[str, _CellText]:
    parts = dict(zip(_POSITIONS, call.args, strict=False))
    named = [keyword.arg for keyword in call.keywords]
    parts |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    keys = [name for name in parts if not name.endswith("_concat")]
    known = {*keys, *(f"{key}_concat" for key in keys)}
    if not keys or parts.keys() != known or len(parts) != len(call.args) + len(named):
        raise ValueError("its parts must be NAME=[...] and NAME_concat=... for each kind of cell")
    return {key: _cell(key, _value(parts[key]), _value(parts[f"{key}_concat"])) for key in keys}


def _cell(key: str, edges: Any, concat: Any) -> _CellText:
    if not isinstance(edges, list | tuple):
        raise ValueError(f"{key} is not a list")  # noqa: TRY004  # what is wrong is the text
    if not isinstance(concat, list | tuple) or not all(type(state) is int for state in concat):
        raise ValueError("the states of the output must be range(FIRST, END) or a list of numbers")
    sizes = None
    if edges and all(isinstance(node, list | tuple) and all(map(_is_pair, node)) for node in edges):
        sizes, edges = tuple(map(len, edges)), [edge for node in edges for edge in node]
    for edge in edges:
        if not (_is_pair(edge) and [type(part) for part in edge] == [str, int]):
            raise ValueError(f"{key} has {edge!r}, which is not (operation, state)")
    return _CellText(tuple((operation, state) for operation, state in edges), tuple(concat), sizes)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and not isinstance(value[0], list | tuple)


def _value(node: ast.expr) -> Any:
    """Return the value of a literal, of a ``range``, or of a number of numpy or torch, without evaluating anything."""
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(each) for each in node.elts]
    if not isinstance(node, ast.Call):
        return ast.literal_eval(node)
    function = ast.unparse(node.func).rpartition(".")[2]
    values = [_value(argument) for argument in node.args]
    if function == "range" and not node.keywords:
        return _range(values)
    if _NUMBERS.fullmatch(function) and len(values) == 1:  # the type or the device of a number does not matter
        return values[0]
    raise ValueError(f"{ast.unparse(node)[:40]!r} is no number, text or list")


def _range(bounds: Sequence[Any]) -> list[int]:
    if not 1 <= len(bounds) <= 2 or not all(type(bound) is int and 0 <= bound <= _HIGHEST_STATE for bound in bounds):
        raise ValueError("a range must be range(FIRST, END)")
    return list(range(*bounds))
