"""The cell: a small directed acyclic graph with a choice of operation on every edge (as in NASNet and DARTS)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from nasreg.errors import SpaceError
from nasreg.nn.answers import CellWeights, HardWeights, Weights, cell_weights, computed_candidates
from nasreg.nn.candidates import CandidateDict, ModuleFactory, check_made_anew, is_deferred
from nasreg.nn.cell_freeze import check_zeros, freeze_cell, state_shaped_like
from nasreg.nn.choices import Choice, checked, join_path
from nasreg.nn.execution import (
    PLAIN,
    Execution,
    add_zero,
    match_layout,
    new_mixture,
    new_partial_sum,
    shared_input,
    to_fast_layout,
)
from nasreg.nn.mixture import Mixture, Part, SharedInput, call_candidate
from nasreg.nn.partial import PartialChannels
from nasreg.nn.sites import CandidateSite, EdgeSite
from nasreg.specs.architecture import CellDecision, Edge
from nasreg.specs.space import NONE, CellSpec

if TYPE_CHECKING:
    from nasreg.nn.fast import PartialSum

EdgeFactory = Callable[[int, int], nn.Module]
"""Makes a candidate of the edge from state ``source`` to node ``node``: ``factory(source, node)``."""


class WeightedEdge(NamedTuple):
    """An edge to compute: its number, the state it starts from, its candidates, and its own weight (None for 1)."""

    edge: int
    source: int
    candidates: str | Weights
    """The chosen candidate, or the weights of some or all."""
    weight: Tensor | None


class Cell(Choice):
    """A cell whose nodes each sum some of the earlier states, with one operation on each edge.

    States are numbered: the inputs first, then the nodes; node i may read every earlier state. The output joins the
    nodes. The candidate named ``"none"`` cuts the edge: it needs no factory and counts as zeros.

    Args:
        candidates: Name of an operation -> ``factory(source, node)`` that makes its module, a new one at each call. The
            outputs of all operations into one node must have one shape.
        inputs: Number of input states.
        nodes: Number of nodes.
        edges_kept: Number of incoming edges that a node keeps in an architecture (all, if it has fewer).
        concat: States that are joined to the output; all nodes by default.
        join: ``concat`` joins them along dimension 1, ``sum`` adds them.
        loose_ends: Join only those that no node reads (as in NASNet and ENAS); with ``concat`` the others count as
            zeros, so that the shape stays the same. Answers are then decisions, or weights for some candidates by name.
        drop_zeros: With loose ends, let the frozen cell leave these zeros out. Every layer that takes the output must
            be an ``AfterLooseEnds``, which freezes to what fits.
        output_adapters: State -> factory of a module that the state goes through where it is joined to the output, such
            as one that halves an input of a reduction cell. What it returns has the shape of the last node.
        repeat_sources: Give each node ``edges_kept`` slots that each choose an operation and any earlier state, also
            one that another slot reads (as in NASNet and ENAS). Each slot has an edge of its own from each state.
        none_selectable: Let architectures choose ``none`` (as in NAS-Bench-201), not only weigh it during a search.
            Where a node may have no other operation, one of its candidates must be ``nn.Identity``, whose input has the
            shape of the node.
        reduction: Whether the edges from the inputs halve height and width. It describes the cell for pictures and
            reports; the factories set the strides.
        edge_candidates: Names of the operations possible on each edge, if they differ; edges are ordered node by node,
            then slot by slot with ``repeat_sources``, then source by source.
        key: Name of the decision; cells with the same key share it, as all normal cells of DARTS do.

    Raises:
        SpaceError: The arguments contradict each other, or a factory returns no new module.
    """

    def __init__(
        self,
        candidates: Mapping[str, EdgeFactory | None],
        *,
        inputs: int = 2,
        nodes: int = 4,
        edges_kept: int = 2,
        concat: Sequence[int] | None = None,
        join: Literal["concat", "sum"] = "concat",
        loose_ends: bool = False,
        drop_zeros: bool = False,
        output_adapters: Mapping[int, ModuleFactory] | None = None,
        repeat_sources: bool = False,
        none_selectable: bool = False,
        reduction: bool = False,
        edge_candidates: Sequence[Sequence[str]] | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(key)
        if drop_zeros and not (loose_ends and join == "concat"):
            raise SpaceError(f"Cell {key!r}: drop_zeros is for loose ends that are concatenated")
        self.drop_zeros = drop_zeros
        slots = edges_kept if repeat_sources else 1
        n_edges = sum(slots * (inputs + node) for node in range(nodes))
        names = tuple(map(tuple, edge_candidates)) if edge_candidates is not None else (tuple(candidates),) * n_edges
        self._spec = checked(
            CellSpec,
            key=key or "cell",
            inputs=inputs,
            nodes=nodes,
            candidates=names,
            edges_kept=edges_kept,
            repeat_sources=repeat_sources,
            none_selectable=none_selectable,
            concat=tuple(concat if concat is not None else range(inputs, inputs + nodes)),
            join=join,
            loose_ends=loose_ends,
            reduction=reduction,
        )
        self.edges = nn.ModuleList(
            self._make_edge(candidates, edge_names, source, node)
            for edge_names, (node, _, source) in zip(names, self._spec.edge_ends, strict=True)
        )
        check_made_anew(f"Cell {key!r}", (module for edge in self.edges for module in edge.children()))
        if unknown := sorted(set(output_adapters or {}) - set(self._spec.concat)):
            raise SpaceError(f"Cell {key!r}: there is an output adapter for state {unknown[0]}, which is not in concat")
        adapters = {str(state): factory for state, factory in (output_adapters or {}).items()}
        self.output_adapters = CandidateDict(f"Cell {key!r}", adapters)
        self.edge_transforms = nn.ModuleDict()
        self.auxiliary_skips = nn.ModuleDict()
        self.auxiliary_weight = 0.0
        self._output_shapes: dict[tuple[int, bool, torch.Size], torch.Size] = {}
        if none_selectable and not is_deferred():
            check_zeros(self, self._spec)

    def _make_edge(
        self, candidates: Mapping[str, EdgeFactory | None], names: Sequence[str], source: int, node: int
    ) -> CandidateDict:
        factories: dict[str, ModuleFactory] = {}
        for name in names:
            factory = candidates.get(name)
            if name == NONE:
                continue
            if factory is None:
                raise SpaceError(f"Cell {self.key!r}: there is no factory for candidate {name!r}")
            factories[name] = partial(factory, source, node)
        return CandidateDict(f"Cell {self.key!r}", factories)

    def modules_of(self, edge: int) -> CandidateDict:
        """Return the candidates of an edge by name, without ``none``."""
        return cast("CandidateDict", self.edges[edge])

    def transform_of(self, edge: int) -> nn.Module | None:
        """Return the transform of an edge (see ``nasreg.nn.transform_edges``), or None."""
        name = str(edge)
        return self.edge_transforms[name] if name in self.edge_transforms else None  # noqa: SIM401  # it has no get

    def compute(self, answer: Any, *inputs: Tensor) -> Tensor:
        """Compute the cell.

        Args:
            answer: The operations of each node, or weights of candidates on each edge.
            inputs: The input states, each ``(B, C, H, W)``.

        Returns:
            ``(B, nodes * C, H', W')``, where each node is ``(B, C, H', W')``; ``(B, C, H', W')`` with ``join="sum"``.

        Raises:
            SpaceError: Inputs or answer do not fit, outputs of candidates differ in shape, or a candidate alters its
                input in place.
        """
        cell = self._spec
        if len(inputs) != cell.inputs:
            raise SpaceError(f"{self.label} takes {cell.inputs} inputs, got {len(inputs)}")
        weights = cell_weights(self.label, cell.n_edges, answer)
        joined = self._output_states(answer, weights)
        execution = PLAIN if weights is None else self.execution
        states = [shared_input(execution, to_fast_layout(execution, x)) for x in inputs]
        for node in range(cell.nodes):
            edges = self._chosen(node, answer[node]) if weights is None else self._weighted(node, weights)
            states.append(shared_input(execution, self._node(node, states, edges, execution)))
        output = self._join([state.x for state in states], joined)
        return match_layout(execution, output, inputs[0])

    def joined_states(self) -> tuple[int, ...]:
        """Return the states that make the output according to the present answer."""
        answer: Any = self.answer()
        return self._output_states(answer, cell_weights(self.label, self._spec.n_edges, answer))

    def _output_states(self, answer: Any, weights: CellWeights | None) -> tuple[int, ...]:
        """Return the states that make the output."""
        cell = self._spec
        if weights is None or not cell.loose_ends:
            return cell.output_states(answer) if weights is None else cell.concat
        if any(isinstance(each, Tensor) for each in weights.candidates):
            raise SpaceError(
                f"{self.label} joins only the states that no node reads, and with weights of all candidates every state"
                " is read: it takes a decision, or weights of some candidates by name"
            )
        read = {
            source
            for (_, _, source), each in zip(cell.edge_ends, weights.candidates, strict=True)
            if ({each.candidate} if isinstance(each, HardWeights) else set(each)) - {NONE}
        }
        return tuple(state for state in cell.concat if state not in read)

    def _join(self, states: Sequence[Tensor], joined: Sequence[int]) -> Tensor:
        """Join states to the output."""
        cell, adapters = self._spec, self.output_adapters
        shown = {s: adapters[str(s)](states[s]) if str(s) in adapters.names else states[s] for s in joined}
        if cell.join == "concat":
            for state in sorted(set(cell.concat) - set(joined)):
                shown[state] = torch.zeros_like(states[state_shaped_like(self, cell, state)])
            return torch.cat([shown[state] for state in cell.concat], 1)
        total = shown[joined[0]]
        for state in joined[1:]:
            if shown[state].shape != total.shape:
                raise SpaceError(
                    f"{self.label} cannot sum states of different shapes: state {joined[0]} has {tuple(total.shape)}"
                    f" and state {state} has {tuple(shown[state].shape)}"
                )
            total = total + shown[state]
        return total

    def _chosen(self, node: int, kept: Sequence[Edge]) -> Iterator[WeightedEdge]:
        """Yield each edge that a decision keeps for a node, with its operation."""
        for slot, (operation, source) in enumerate(kept):
            yield WeightedEdge(self._spec.edge_number(node, slot, source), source, operation, None)

    def _weighted(self, node: int, weights: CellWeights) -> Iterator[WeightedEdge]:
        """Yield each edge into a node that has a weighted candidate."""
        for edge, source in self._edges_into(node):
            candidates = weights.candidates[edge]
            if isinstance(candidates, Tensor | HardWeights) or candidates:
                yield WeightedEdge(edge, source, candidates, None if weights.edges is None else weights.edges[edge])

    def _edges_into(self, node: int) -> list[tuple[int, int]]:
        """Return number and source of each edge into a node."""
        n_sources = self._spec.inputs + node
        return [(edge, number % n_sources) for number, edge in enumerate(self._spec.edges_into(node))]

    def _node(
        self, node: int, states: Sequence[SharedInput], edges: Iterator[WeightedEdge], execution: Execution
    ) -> Tensor:
        """Compute a node, given the weighted candidates of its incoming edges."""
        mixture = new_mixture(execution, self.label)
        zeros: list[Tensor] = []
        together: PartialSum | None = None
        for edge, source, candidates, edge_weight in edges:
            ends, x = (source, node), states[source]
            transform = self.transform_of(edge)
            if transform is None or not self.modules_of(edge):
                zero = self._add_edge(mixture, edge, ends, x, candidates, edge_weight)
                zeros += [] if zero is None else [zero]
                continue
            part = Part("", *ends)
            if isinstance(transform, PartialChannels) and not isinstance(candidates, HardWeights):
                together = together or new_partial_sum(execution, self.label, transform, x.x)
                if together is not None and together.k == transform.k:
                    split = together.input(x)
                    self._add_edge(together.mixture, edge, ends, split.mixed, candidates, edge_weight)
                    shape = self._output_shape(edge, split.mixed.x, transformed=False)
                    together.add_past(part, edge_weight, split, shape)
                    continue
            mixed = partial(self._mixed, execution, edge, ends, candidates)
            mixture.add_tensor(part, edge_weight, call_candidate(self.label, part, transform, x.x, mixed))
        if together is not None:
            mixture.add_tensor(Part("partial channels", None, node), None, together.result())
        total = mixture.result()
        total = self._zeros(node, states) if total is None else total
        return add_zero(execution, total, torch.stack(zeros).sum()) if zeros else total

    def _add_edge(
        self,
        mixture: Mixture,
        edge: int,
        ends: tuple[int, int],
        x: SharedInput,
        candidates: str | Weights,
        edge_weight: Tensor | None = None,
    ) -> Tensor | None:
        """Add the outputs of an edge's candidates to a sum; ``none`` adds nothing, weights add the auxiliary skip.

        Returns:
            A zero to add for its gradient, if there is one; see ``computed_candidates``.
        """
        modules = self.modules_of(edge)
        if isinstance(candidates, str):
            if candidates != NONE:
                mixture.add(Part(candidates, *ends), None, modules[candidates], x)
            return None
        hard = isinstance(candidates, HardWeights)
        if edge_weight is not None and not isinstance(candidates, HardWeights):
            candidates = _scaled(candidates, edge_weight)
        weighted, zero = computed_candidates(self.label, self._spec.candidates[edge], candidates)
        for name, weight in weighted:
            if name != NONE:
                factor = _product(weight, edge_weight) if hard else weight
                mixture.add(Part(name, *ends), factor, modules[name], x)
        if self.auxiliary_weight and str(edge) in self.auxiliary_skips:
            weight = x.x.new_tensor(self.auxiliary_weight)
            weight = weight if edge_weight is None else weight * edge_weight
            mixture.add(Part("auxiliary skip", *ends), weight, self.auxiliary_skips[str(edge)], x)
        return None if zero is None else _product(zero, edge_weight)

    def _mixed(
        self, execution: Execution, edge: int, ends: tuple[int, int], candidates: str | Weights, x: Tensor
    ) -> Tensor:
        """Compute the mixed operation of an edge, for its transform."""
        mixture = new_mixture(execution, self.label)
        shared = shared_input(execution, to_fast_layout(execution, x))
        zero = self._add_edge(mixture, edge, ends, shared, candidates)
        total = mixture.result()
        total = x.new_zeros(self._output_shape(edge, x, transformed=False)) if total is None else total
        return total if zero is None else add_zero(execution, total, zero)

    def _zeros(self, node: int, states: Sequence[SharedInput]) -> Tensor:
        """Return the value of a node that no candidate enters."""
        for edge, source in self._edges_into(node):
            if self.modules_of(edge):
                x = states[source].x
                return x.new_zeros(self._output_shape(edge, x, transformed=True))
        raise SpaceError(f"{self.label}: no edge into node {node} has a candidate")

    def _output_shape(self, edge: int, x: Tensor, *, transformed: bool) -> torch.Size:
        """Return the shape of an edge's output; it is computed on torch's meta device, without data."""
        key = (edge, transformed, x.shape)
        if key not in self._output_shapes:
            modules = self.modules_of(edge)
            candidate = modules[modules.names[0]]
            transform = self.transform_of(edge) if transformed else None
            module = candidate if transform is None else _Transformed(transform, candidate)
            tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
            meta = {name: tensor.detach().to("meta") for name, tensor in tensors.items()}
            with torch.no_grad():
                self._output_shapes[key] = functional_call(module, meta, (x.detach().to("meta"),)).shape
        return self._output_shapes[key]

    def spec(self, key: str, paths: tuple[str, ...]) -> CellSpec:
        """Return the description of this choice under its full key."""
        return checked(CellSpec, **{**self._spec.model_dump(), "key": key, "paths": paths})

    def materialize(self, decision: CellDecision) -> nn.Module:
        """Return a module with the chosen operations only; see ``freeze_cell``.

        Raises:
            SpaceError: As ``freeze_cell``.
        """
        return freeze_cell(self, self._spec, decision)

    def candidate_modules(self, key: str, path: str) -> Iterator[tuple[CandidateSite, nn.ModuleDict]]:
        """Yield the site of each candidate but ``none``, and the dictionary that holds it."""
        for site in self.edge_sites(key, path):
            modules = self.modules_of(site.edge)
            for name in modules:
                at = join_path(path, "edges", str(site.edge), name)
                ends = (site.source, site.node, site.edge, site.slot)
                yield CandidateSite(key, path, at, name, *ends, site.reduction), modules

    def edge_sites(self, key: str, path: str) -> Iterator[EdgeSite]:
        """Yield the site of each edge that has a candidate beside ``none``.

        Args:
            key: Full key of the cell.
            path: Name of the cell among the modules of the model.
        """
        for edge, (node, slot, source) in enumerate(self._spec.edge_ends):
            if self.modules_of(edge):
                yield EdgeSite(key, path, source, node, edge, slot, self._spec.reduction)


def _product(weight: Tensor | None, edge_weight: Tensor | None) -> Tensor | None:
    """Return the product of two weights, of which None is 1."""
    return edge_weight if weight is None else weight if edge_weight is None else weight * edge_weight


def _scaled(weights: Tensor | Mapping[str, Tensor], factor: Tensor) -> Weights:
    """Return weights of candidates times the weight of their edge."""
    if isinstance(weights, Tensor):
        return weights * factor
    return {name: weight * factor for name, weight in weights.items()}


class _Transformed(nn.Module):
    """An edge's candidate with the edge's transform."""

    def __init__(self, transform: nn.Module, candidate: nn.Module) -> None:
        super().__init__()
        self.transform = transform
        self.candidate = candidate

    def forward(self, x: Tensor) -> Any:
        return self.transform(x, self.candidate)
