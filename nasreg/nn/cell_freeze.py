"""Freezing a cell: the plain module with the decided operations, and the states whose shape its zeros have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import fx, nn

from nasreg.errors import SpaceError
from nasreg.nn.candidates import check_made_anew
from nasreg.nn.choices import add_all
from nasreg.nn.partial import PartialChannels
from nasreg.specs.architecture import CellDecision
from nasreg.specs.space import NONE, CellSpec

if TYPE_CHECKING:
    from nasreg.nn.cell import Cell


def freeze_cell(cell: Cell, spec: CellSpec, decision: CellDecision) -> nn.Module:
    """Return a module with the chosen operations only.

    ``node2_from0`` is the operation from state 0 to node 2; with ``repeat_sources`` ``node2_slot1_from0`` is the one in
    its second slot.

    Args:
        cell: The cell.
        spec: Its description.
        decision: The operations of each node.

    Raises:
        SpaceError: ``none`` is chosen for a transformed edge, or alone for a node whose shape is not known, or the cell
            has partial channels.
    """
    graph, root = fx.Graph(), nn.Module()
    states = [graph.placeholder(f"input{number}") for number in range(spec.inputs)]
    for node, kept in enumerate(decision):
        parts = []
        for slot, (operation, source) in enumerate(kept):
            edge = spec.edge_number(node, slot, source)
            transform = cell.transform_of(edge)
            if isinstance(transform, PartialChannels):
                raise SpaceError(
                    f"{cell.label} was searched with partial channels: its candidates have a part of the channels,"
                    " and the network has all of them. Build the model anew and freeze that"
                )
            if operation == NONE and transform is not None:
                raise SpaceError(
                    f"{cell.label}: 'none' is chosen for edge {edge}, which has a transform: remove that before"
                    " freezing"
                )
            if operation == NONE:
                continue
            name = f"node{node}_slot{slot}_from{source}" if spec.repeat_sources else f"node{node}_from{source}"
            root.add_module(name, cell.modules_of(edge).built(operation))
            if transform is None:
                parts.append(graph.call_module(name, (states[source],)))
            else:  # takes the operation as an argument
                root.add_module(f"{name}_transform", transform)
                mixed = graph.create_node("get_attr", name)
                parts.append(graph.call_module(f"{name}_transform", (states[source], mixed)))
        if not parts:
            parts = [graph.call_function(torch.zeros_like, (states[source_of_same_shape(cell, spec, node)],))]
        states.append(add_all(graph, parts))
    check_made_anew(cell.label, (module for edge in cell.edges for module in edge.children()))  # while deferred
    joined = spec.output_states(decision)
    shown = joined if cell.drop_zeros or spec.join == "sum" else spec.concat
    for state in sorted(set(shown) - set(joined)):
        states[state] = graph.call_function(torch.zeros_like, (states[state_shaped_like(cell, spec, state)],))
    for state in joined:
        if str(state) in cell.output_adapters.names:
            root.add_module(f"output{state}", cell.output_adapters.built(str(state)))
            states[state] = graph.call_module(f"output{state}", (states[state],))
    if spec.join == "sum":
        graph.output(add_all(graph, [states[state] for state in joined]))
    else:
        graph.output(graph.call_function(torch.cat, ([states[state] for state in shown], 1)))
    return fx.GraphModule(root, graph)


def check_zeros(cell: Cell, spec: CellSpec) -> None:
    """Check that the shape of each node is known for which only ``none`` may be chosen.

    Raises:
        SpaceError: It is not.
    """
    for node in range(spec.nodes):
        cut = [[NONE in spec.candidates[edge] for edge in spec.slot_edges(node, s)] for s in range(spec.slots(node))]
        if all(map(any, cut)) if spec.repeat_sources else sum(cut[0]) >= spec.kept(node):
            source_of_same_shape(cell, spec, node)


def source_of_same_shape(cell: Cell, spec: CellSpec, node: int) -> int:
    """Return a state with the shape of a node: one that the identity may connect with it.

    Raises:
        SpaceError: There is none.
    """
    for edge in spec.edges_into(node):
        modules = cell.modules_of(edge)
        if any(type(modules.built(name)) is nn.Identity for name in modules):
            return spec.edge_ends[edge][2]
    raise SpaceError(
        f"{cell.label}: only 'none' may be chosen for node {node}, and without nn.Identity among its candidates the"
        " shape of its zeros is not known"
    )


def state_shaped_like(cell: Cell, spec: CellSpec, state: int) -> int:
    """Return a state that has the shape in which a state is joined to the output."""
    return spec.inputs + spec.nodes - 1 if str(state) in cell.output_adapters.names else state
