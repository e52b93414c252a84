"""The choice of a cell: a directed acyclic graph whose nodes each keep some incoming edges. Imports no torch."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

from pydantic import Field, model_validator

from nasreg.specs.architecture import CellDecision, Decision
from nasreg.specs.choices import NONE, ChoiceSpecBase, Name, check_unique
from nasreg.specs.domains import Domain, Product
from nasreg.specs.subsets import Concatenation, Subset


class CellSpec(ChoiceSpecBase):
    """A directed acyclic cell: each node keeps some of its incoming edges, with one operation on each.

    States are numbered: the inputs 0 .. ``inputs`` - 1, then the nodes. Node i may take every earlier state. There are
    two forms:

    - By default (DARTS, NAS-Bench-201) there is one edge from each earlier state to each node, and a node keeps
      ``edges_kept`` of them. Which of its kept edges comes first means nothing.
    - With ``repeat_sources`` (NASNet, ENAS) a node has ``edges_kept`` slots. Each slot takes any earlier state, also
      one that another slot takes, and has an edge of its own from each of them, with its own candidates and weights.
      The kept edges of a node are in the order of its slots.

    Edges are numbered node by node, then slot by slot, then source by source; in the default form a node has one range
    of edges, which all that it keeps share.
    """

    kind: Literal["cell"] = "cell"
    inputs: int = Field(ge=1, le=64, description="number of input states")
    nodes: int = Field(ge=1, le=64, description="number of intermediate nodes")
    candidates: tuple[tuple[Name, ...], ...] = Field(description="names of the operations possible on each edge")
    edges_kept: int = Field(default=2, ge=1, description="incoming edges that a node keeps (all, where it has fewer)")
    repeat_sources: bool = Field(
        default=False,
        description="whether a node has ordered slots with edges of their own, two of which may read one state",
    )
    none_selectable: bool = Field(default=False, description="whether none can be chosen, as any other operation")
    concat: tuple[int, ...] = Field(min_length=1, description="states that are joined to the output")
    join: Literal["concat", "sum"] = Field(default="concat", description="how they are joined")
    loose_ends: bool = Field(
        default=False, description="whether of these states those that a node reads count as zeros in the output"
    )
    reduction: bool = Field(default=False, description="whether edges from the inputs halve height and width")

    @model_validator(mode="after")
    def _consistent(self) -> CellSpec:
        if len(self.candidates) != self.n_edges:
            raise ValueError(f"cell {self.key!r} has {self.n_edges} edges, but candidates for {len(self.candidates)}")
        for names in self.candidates:
            check_unique(self.key, names)
        for node in range(self.nodes):
            needed = 1 if self.repeat_sources else self.kept(node)
            for slot in range(self.slots(node)):
                usable = sum(bool(self.selectable(edge)) for edge in self.slot_edges(node, slot))
                if usable < needed:
                    where = f"slot {slot} of node {node}" if self.repeat_sources else f"node {node}"
                    raise ValueError(
                        f"cell {self.key!r}: {where} keeps {needed} edges, but only {usable} can carry an operation"
                    )
        states = self.inputs + self.nodes
        if len(set(self.concat)) != len(self.concat) or not all(0 <= state < states for state in self.concat):
            raise ValueError(f"cell {self.key!r}: concat {list(self.concat)} must name different states below {states}")
        if self.loose_ends and states - 1 not in self.concat:
            raise ValueError(
                f"cell {self.key!r}: with loose ends, concat {list(self.concat)} must name the last state {states - 1},"
                " the only one that no node can read"
            )
        return self

    @property
    def primitive(self) -> str:
        """The kind of choice, as ``AlgorithmSpec.primitives`` names it."""
        return "cell/loose-ends" if self.loose_ends else "cell/slots" if self.repeat_sources else "cell"

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The names of the candidates on each edge."""
        return self.candidates

    @property
    def n_edges(self) -> int:
        """The number of edges: 14 for 2 inputs and 4 nodes in the default form, 28 with two slots."""
        return sum(self.slots(node) * (self.inputs + node) for node in range(self.nodes))

    def kept(self, node: int) -> int:
        """Return how many incoming edges ``node`` keeps."""
        return self.edges_kept if self.repeat_sources else min(self.edges_kept, self.inputs + node)

    def slots(self, node: int) -> int:
        """Return how many slots of ``node`` have edges of their own; 1 in the default form, whose edges are shared."""
        return self.kept(node) if self.repeat_sources else 1

    def edges_into(self, node: int) -> range:
        """Return the numbers of the edges into ``node``; the k-th of them comes from state k in the default form.

        With ``repeat_sources`` they are those of the first slot, then of the second, and so on: see ``slot_edges``.
        """
        first = self.slots(node) * (node * self.inputs + node * (node - 1) // 2)
        return range(first, first + self.slots(node) * (self.inputs + node))

    def slot_edges(self, node: int, slot: int) -> range:
        """Return the numbers of the edges that slot number ``slot`` of ``node`` chooses from; the k-th is from state k.

        In the default form they are the edges into the node, whatever the slot.
        """
        edges, sources = self.edges_into(node), self.inputs + node
        return edges[slot * sources : (slot + 1) * sources] if self.repeat_sources else edges

    def edge_number(self, node: int, slot: int, source: int) -> int:
        """Return the number of the edge from state ``source`` to ``node`` that is kept as its edge number ``slot``."""
        return self.slot_edges(node, slot)[source]

    @property
    def edge_ends(self) -> tuple[tuple[int, int, int], ...]:
        """The node, the slot (0 in the default form) and the source state of each edge, in the order of edges."""
        return tuple(
            (node, slot, source)
            for node in range(self.nodes)
            for slot in range(self.slots(node))
            for source in range(self.inputs + node)
        )

    def selectable(self, edge: int) -> tuple[str, ...]:
        """Return the operations that can be chosen on an edge: all, but ``none`` only with ``none_selectable``."""
        names = self.candidates[edge]
        return names if self.none_selectable else tuple(name for name in names if name != NONE)

    def output_states(self, decision: CellDecision) -> tuple[int, ...]:
        """Return the states that make the output: ``concat``, without those that a node reads if ``loose_ends``.

        An edge with the operation ``none`` reads nothing.
        """
        read = {source for kept in decision for name, source in kept if name != NONE} if self.loose_ends else ()
        return tuple(state for state in self.concat if state not in read)

    @cached_property
    def domain(self) -> Domain[Any]:
        """The set of the possible decisions: for each node a subset of its edges, or one edge for each of its slots."""
        return Product(
            [self._node_domain(node) for node in range(self.nodes)], [f"node {node}, " for node in range(self.nodes)]
        )

    def _node_domain(self, node: int) -> Domain[Any]:
        states = tuple(map(str, range(self.inputs + node)))
        groups = []
        for slot in range(self.slots(node)):
            labels = [self.selectable(edge) for edge in self.slot_edges(node, slot)]
            items = [tuple((name, source) for name in names) for source, names in enumerate(labels)]
            groups.append(Subset(items, labels, self.kept(node) // self.slots(node), states, "source", slot))
        return Concatenation(groups) if self.repeat_sources else groups[0]

    @cached_property
    def _possible(self) -> tuple[tuple[tuple[tuple[str, ...], ...], ...], ...]:
        """The operations that can be chosen: for each node, for each of its slots, for each source state."""
        return tuple(
            tuple(tuple(map(self.selectable, self.slot_edges(node, slot))) for slot in range(self.slots(node)))
            for node in range(self.nodes)
        )

    def problem(self, decision: Decision) -> str | None:
        """Return why a decision is invalid, or None. The edges of a node may be in any order in the default form."""
        if not isinstance(decision, tuple) or any(isinstance(node, str) for node in decision):
            return f"{decision!r} is not a list of edges per node"
        if len(decision) != self.nodes:
            return f"the cell has {self.nodes} nodes, the decision {len(decision)}"
        for node, kept in enumerate(decision):
            sources = {source for _, source in kept}
            if len(kept) != self.kept(node) or (len(sources) != len(kept) and not self.repeat_sources):
                what = "edges" if self.repeat_sources else "edges from different states"
                return f"node {node} must keep {self.kept(node)} {what}, not {[list(edge) for edge in kept]}"
            slots = self._possible[node]
            for slot, (operation, source) in enumerate(kept):
                possible = slots[slot] if self.repeat_sources else slots[0]
                if type(source) is not int or not 0 <= source < len(possible):
                    return f"node {node} cannot take state {source}"
                if operation not in possible[source]:
                    names = ", ".join(possible[source])
                    return f"node {node}: {operation!r} from state {source} is not one of {names}"
        return None
