"""The cell: a small directed acyclic graph with a choice of operation on every edge (as in NASNet and DARTS)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from nasreg.errors import SpaceError
from nasreg.nn.choices import Choice, add_all, checked, is_optimized, module_dict
from nasreg.nn.mixture import Mixture, Source, as_format, fast_format
from nasreg.specs.architecture import CellDecision
from nasreg.specs.space import NONE, CellSpec

EdgeFactory = Callable[[int, int], nn.Module]
"""Makes the candidate for the edge from state ``source`` to node ``node``: ``factory(source, node)``."""


class Cell(Choice):
    """Nodes that each sum some of the earlier states, with one operation on each edge; the output concatenates them.

    States are numbered: the inputs first, then the nodes; node i may take every earlier state. The candidate named
    ``"none"`` cuts the edge: it needs no factory, counts as zeros in a mixture, and is never chosen.

    Args:
        candidates: Name of an operation -> ``factory(source, node)`` that makes its module. The outputs of all
            operations into one node must have one shape.
        inputs: Number of input states.
        nodes: Number of nodes.
        edges_kept: Incoming edges that a node keeps in an architecture (all, where it has fewer).
        concat: States that make the output, concatenated along dimension 1; all nodes by default.
        reduction: Whether the edges from the inputs halve height and width. It describes the cell for pictures and
            reports; the strides are the factories' business.
        edge_candidates: Names of the operations possible on each edge, where they differ; edges are ordered node by
            node, then source by source.
        key: Name of the decision; cells with the same key share it, as all normal cells of DARTS do.

    Raises:
        SpaceError: The arguments contradict each other.
    """

    def __init__(
        self,
        candidates: Mapping[str, EdgeFactory | None],
        *,
        inputs: int = 2,
        nodes: int = 4,
        edges_kept: int = 2,
        concat: Sequence[int] | None = None,
        reduction: bool = False,
        edge_candidates: Sequence[Sequence[str]] | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(key)
        sources = [(source, node) for node in range(nodes) for source in range(inputs + node)]
        names = (
            tuple(map(tuple, edge_candidates)) if edge_candidates is not None else (tuple(candidates),) * len(sources)
        )
        self._spec = checked(
            CellSpec,
            key=key or "cell",
            inputs=inputs,
            nodes=nodes,
            candidates=names,
            edges_kept=edges_kept,
            concat=tuple(concat if concat is not None else range(inputs, inputs + nodes)),
            reduction=reduction,
        )
        self.edges = nn.ModuleList(
            self._edge(candidates, edge_names, source, node)
            for edge_names, (source, node) in zip(names, sources, strict=True)
        )

    def _edge(
        self, candidates: Mapping[str, EdgeFactory | None], names: Sequence[str], source: int, node: int
    ) -> nn.ModuleDict:
        modules = {}
        for name in names:
            factory = candidates.get(name)
            if name == NONE:
                continue
            if factory is None:
                raise SpaceError(f"Cell {self.key!r}: there is no factory for candidate {name!r}")
            modules[name] = factory(source, node)
        return module_dict(modules, f"Cell {self.key!r}") if modules else nn.ModuleDict()

    def compute(self, answer: Any, *inputs: Tensor) -> Tensor:
        """Compute the cell.

        Args:
            answer: The operations of each node, or weights of all candidates on each edge.
            inputs: The input states, each ``(B, C, H, W)``.

        Returns:
            ``(B, nodes * C, H', W')``, where each node is ``(B, C, H', W')``.

        Raises:
            SpaceError: Another number of inputs than declared.
        """
        cell = self._spec
        if len(inputs) != cell.inputs:
            raise SpaceError(f"Cell {self.key!r} takes {cell.inputs} inputs, got {len(inputs)}")
        mixed = isinstance(answer[0], Tensor) and is_optimized(self.execution)
        states = list(map(fast_format, inputs)) if mixed else list(inputs)
        sources = list(map(Source, states))
        for node in range(cell.nodes):
            states.append(self._mixed(node, sources, answer) if mixed else self._sum(node, states, answer))
            sources.append(Source(states[-1]))
        output = torch.cat([states[state] for state in cell.concat], 1)
        return as_format(output, inputs[0]) if mixed else output

    def _mixed(self, node: int, sources: list[Source], answer: Any) -> Tensor:
        mixture = Mixture(self.execution)
        for source, edge in zip(sources, self._spec.edges_into(node), strict=True):
            modules = cast("nn.ModuleDict", self.edges[edge])
            for name, weight in zip(self._spec.candidates[edge], answer[edge].unbind(), strict=True):
                if name != NONE:  # zeros add nothing
                    mixture.add(weight, modules[name], source)
        return mixture.total

    def _sum(self, node: int, states: list[Tensor], answer: Any) -> Tensor:
        total: Tensor | None = None
        for output in self._outputs(node, states, answer):
            total = output if total is None else total + output
        assert total is not None  # noqa: S101  # the spec has an operation on as many edges as the node keeps
        return total

    def _outputs(self, node: int, states: list[Tensor], answer: Any) -> Any:
        edges = self._spec.edges_into(node)
        if not isinstance(answer[0], Tensor):
            for operation, source in cast("CellDecision", answer)[node]:
                yield cast("nn.ModuleDict", self.edges[edges[source]])[operation](states[source])
            return
        for source, edge in enumerate(edges):
            modules = cast("nn.ModuleDict", self.edges[edge])
            for name, weight in zip(self._spec.candidates[edge], answer[edge].unbind(), strict=True):
                if name != NONE:  # zeros add nothing
                    yield weight * modules[name](states[source])

    def spec(self, key: str, paths: tuple[str, ...]) -> CellSpec:
        """Describe this choice under its full key."""
        return checked(CellSpec, **{**self._spec.model_dump(), "key": key, "paths": paths})

    def frozen(self, decision: CellDecision) -> nn.Module:
        """Return a module with the chosen operations only: ``node2_from0`` is the one from state 0 to node 2."""
        cell = self._spec
        graph, root = fx.Graph(), nn.Module()
        states = [graph.placeholder(f"input{number}") for number in range(cell.inputs)]
        for node, kept in enumerate(decision):
            parts = []
            for operation, source in kept:
                name = f"node{node}_from{source}"
                root.add_module(name, cast("nn.ModuleDict", self.edges[cell.edges_into(node)[source]])[operation])
                parts.append(graph.call_module(name, (states[source],)))
            states.append(add_all(graph, parts))
        graph.output(graph.call_function(torch.cat, ([states[state] for state in cell.concat], 1)))
        return fx.GraphModule(root, graph)
