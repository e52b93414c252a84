"""The layout of a cell: coordinates of its states, edges and labels, without overlaps for any architecture.

A cell is drawn in columns from left to right: each state in the column after the last of its sources, and the label of
each edge in a column between. A label takes up room in its column as a box does, and so does a line that crosses the
column; therefore nothing overlaps. This is the layered drawing of Sugiyama, Tagawa and Toda (1981) with the labels as
vertices. Lengths are points (1/72 inch); y grows downwards.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from nasreg.errors import ConfigError
from nasreg.report.describe import output_name, state_name
from nasreg.report.drawing.fonts import BODY, NOTE, text_width
from nasreg.specs.architecture import CellDecision
from nasreg.specs.cell import CellSpec
from nasreg.specs.choices import NONE
from nasreg.specs.formatting import shorten


@dataclass(eq=False)
class Item:
    """An item that takes up room in a column: a state, a label, or a line that crosses the column."""

    column: int
    state: int | None = None
    width: float = 0.0
    height: float = 0.0
    y: float = 0.0
    before: list[Item] = field(default_factory=list)
    """Items of the column before that are connected to it; in the end from top to bottom."""
    after: list[Item] = field(default_factory=list)

    def port(self, other: Item) -> float:
        """Return the offset from the middle at which the line to ``other`` arrives: lines on a side are spread out."""
        side = self.before if other.column < self.column else self.after
        return 7.0 * (side.index(other) - (len(side) - 1) / 2)


@dataclass
class Line:
    """An edge of the cell, or a line to the output, which has no operation."""

    source: int
    target: int
    items: list[Item]
    operation: str | None = None
    note: str = ""
    label: Item | None = None
    slot: int | None = None
    """The slot of its node that keeps the edge, in a cell with slots: two of them may read one state."""


@dataclass
class Layout:
    """A cell with coordinates for each of its parts."""

    states: list[Item]
    """The cell's states, and the output last."""
    lines: list[Line]
    columns: list[list[Item]]
    used: set[int]
    """States from which a path leads to the output, and the output itself."""


def lay_out_cell(cell: CellSpec, decision: CellDecision, strengths: Sequence[float] | None) -> Layout:
    """Compute the layout of a cell.

    Args:
        cell: The cell.
        decision: Its kept edges.
        strengths: A number for each edge of the cell, written below the operation on the kept ones.

    Raises:
        ConfigError: There is not one strength per edge.
    """
    if strengths is not None and len(strengths) != cell.n_edges:
        raise ConfigError(
            f"strengths of cell {cell.key!r} must be {cell.n_edges} numbers, one per edge, not {len(strengths)}"
        )
    depth = [0] * cell.inputs
    for kept in decision:
        depth.append(1 + max(depth[source] for _, source in kept))
    output = len(depth)
    states = [Item(2 * deep, state) for state, deep in enumerate(depth)] + [Item(2 * max(depth) + 1, output)]
    columns: list[list[Item]] = [[] for _ in range(states[-1].column + 1)]
    for item in states:
        columns[item.column].append(item)

    def join(source: int, target: int) -> list[Item]:
        passing = [Item(column) for column in range(states[source].column + 1, states[target].column)]
        for item in passing:
            columns[item.column].append(item)
        items = [states[source], *passing, states[target]]
        for one, other in pairwise(items):
            one.after.append(other)
            other.before.append(one)
        return items

    lines = []
    for node, kept in enumerate(decision):
        target = cell.inputs + node
        for slot, (name, source) in enumerate(kept):
            note = f"{strengths[cell.edge_number(node, slot, source)]:.2f}" if strengths is not None else ""
            line_slot = slot if cell.repeat_sources else None
            lines.append(Line(source, target, join(source, target), name, note, slot=line_slot))
    _place_labels(lines)
    lines += [Line(state, output, join(state, output)) for state in sorted(cell.output_states(decision))]

    used = {output}
    for line in sorted(lines, key=lambda line: -line.target):
        if line.target in used and line.operation != NONE:
            used.add(line.source)
    for state, item in enumerate(states):
        item.width = max(text_width(state_label(cell, state), BODY, math=True) + 14, 26)
        item.height = max(22.0, 7.0 * max(len(item.before), len(item.after)) + 5)
    columns = _reduce_crossings(columns)
    place = {item: number for column in columns for number, item in enumerate(column)}
    for item in place:
        item.before.sort(key=place.__getitem__)
        item.after.sort(key=place.__getitem__)
    _straighten(columns)
    return Layout(states, lines, columns, used)


def _place_labels(lines: Iterable[Line]) -> None:
    """Put each edge's label into a column that the edge crosses: the emptiest, else the nearest to its target."""
    load: Counter[int] = Counter()
    for line in sorted(lines, key=lambda line: len(line.items)):
        line.label = min(line.items[1:-1:2], key=lambda item: (load[item.column], -item.column))
        load[line.label.column] += 1
        line.label.width = 9 + max(text_width(shorten(line.operation or ""), BODY), text_width(line.note, NOTE))
        line.label.height = 23.0 if line.note else 14.0


def _reduce_crossings(columns: list[list[Item]]) -> list[list[Item]]:
    """Order each column so that few lines cross and, if that is equal, states are in the order of their numbers."""
    rng = random.Random(0)
    best, best_score = columns, (math.inf, math.inf)
    for start in range(12):
        order = [rng.sample(column, len(column)) if start else list(column) for column in columns]
        for _ in range(3):
            for number in range(1, len(order)):
                _sort_by_neighbours(order[number], order[number - 1])
            for number in reversed(range(len(order) - 1)):
                _sort_by_neighbours(order[number], order[number + 1])
        _swap_neighbours(order)
        for way in (order, [column[::-1] for column in order]):
            score = (sum(_crossings(*pair) for pair in pairwise(way)), sum(map(_out_of_order, way)))
            if score < best_score:
                best, best_score = way, score
    return best


def _sort_by_neighbours(column: list[Item], neighbours: Sequence[Item]) -> None:
    place = {item: number for number, item in enumerate(neighbours)}
    mean = {}
    for number, item in enumerate(column):
        places = [place[other] for other in item.before + item.after if other in place]
        mean[item] = sum(places) / len(places) if places else number
    column.sort(key=mean.__getitem__)


def _swap_neighbours(order: list[list[Item]]) -> None:
    """Swap neighbours in a column while that removes crossings."""
    place = {item: number for column in order for number, item in enumerate(column)}

    def crossings(upper: Item, lower: Item) -> int:
        sides = ((upper.before, lower.before), (upper.after, lower.after))
        return sum(place[one] > place[other] for ups, lows in sides for one in ups for other in lows)

    swapped = True
    while swapped:
        swapped = False
        for column in order:
            for number, (upper, lower) in enumerate(pairwise(list(column))):
                if column[number] is upper and crossings(upper, lower) > crossings(lower, upper):
                    column[number : number + 2] = lower, upper
                    place[lower], place[upper] = number, number + 1
                    swapped = True


def _crossings(left: Iterable[Item], right: Iterable[Item]) -> int:
    place = {item: number for number, item in enumerate(right)}
    above: list[int] = []
    found = 0
    for item in left:
        ends = [place[other] for other in item.after]
        found += sum(len(above) - bisect_right(above, end) for end in ends)
        for end in ends:
            insort(above, end)
    return found


def _out_of_order(column: Iterable[Item]) -> int:
    states = [item.state for item in column if item.state is not None]
    return sum(one > other for number, one in enumerate(states) for other in states[number + 1 :])


def _straighten(columns: Sequence[Sequence[Item]]) -> None:
    """Move items so that lines become short and straight, keeping their order and their distances."""
    # Each neighbour pulls an item to where their line is straight. A bend is worst in the middle of a line.
    pulls = {
        item: [
            (other, other.port(item) - item.port(other), 60.0 if item.state is other.state is None else 1.0)
            for other in item.before + item.after
        ]
        for column in columns
        for item in column
    }
    for sweep in range(120):
        moved = 0.0
        for column in columns if sweep % 2 else reversed(columns):
            wanted = []
            for item in column:
                weight = sum(pull for _, _, pull in pulls[item])
                mean = sum((other.y + offset) * pull for other, offset, pull in pulls[item]) / (weight or 1)
                wanted.append((mean, weight) if weight else (item.y, 0.1))
            before = [item.y for item in column]
            _separate(column, wanted)
            moved = max(moved, *(abs(item.y - y) for item, y in zip(column, before, strict=True)))
        if moved < 0.01:
            break
    top = min(item.y - item.height / 2 for column in columns for item in column)
    for column in columns:
        for item in column:
            item.y -= top


def _separate(column: Sequence[Item], wanted: Iterable[tuple[float, float]]) -> None:
    """Move items as close to (place, weight) as distances allow, by least squares (pool adjacent violators)."""
    offsets = [0.0]
    for one, other in pairwise(column):
        offsets.append(offsets[-1] + (one.height + other.height) / 2 + 8)
    blocks: list[tuple[float, float, int]] = []
    for (y, weight), offset in zip(wanted, offsets, strict=True):
        mean, total, count = y - offset, weight, 1
        while blocks and blocks[-1][0] >= mean:
            above, more, items = blocks.pop()
            mean = (mean * total + above * more) / (total + more)
            total, count = total + more, count + items
        blocks.append((mean, total, count))
    places = [mean for mean, _, count in blocks for _ in range(count)]
    for item, place, offset in zip(column, places, offsets, strict=True):
        item.y = place + offset


def state_label(cell: CellSpec, state: int) -> str:
    """Return the label in the box of a state, with mathematics between dollar signs."""
    if cell.inputs <= state < cell.inputs + cell.nodes:
        return str(state - cell.inputs)
    name = state_name(cell, state) if state < cell.inputs else output_name(cell)
    return f"${name}$" if "_" in name else name
