"""Cells with partial channels: narrower candidates, and edges that let the other channels past them."""

from __future__ import annotations

import torch
from torch import nn

from nasreg.errors import SpaceError
from nasreg.nn.copying import copy_module
from nasreg.nn.extract import extract_space
from nasreg.nn.partial import PartialChannels
from nasreg.nn.sites import CandidateSite
from nasreg.nn.transforms import transform_candidates, transform_edges
from nasreg.specs.space import CellSpec


def use_partial_channels(model: nn.Module, k: int) -> None:
    """Give all edges of a model's cells partial channels (PC-DARTS, arXiv 1907.05737, section 3.2).

    The candidates are replaced by new ones with 1/k of the channels, initialised as torch does by default, and only
    the first 1/k of a state's channels go through them: see ``PartialChannels``. Time and memory of a search fall
    accordingly. The search space stays what it is, but such a model cannot be frozen: the network of an architecture
    has candidates with all channels, so that it is built anew.

    Args:
        model: A model with cells. An optimizer has to be made after this call.
        k: Number of parts that the channels are divided into; with 1 nothing changes.

    Raises:
        SpaceError: The model has no cell, a layer of a candidate cannot be narrowed, or an edge has a transform.
    """
    if k == 1:
        return
    if not any(isinstance(choice, CellSpec) for choice in extract_space(model).choices):
        raise SpaceError("partial channels are those of the edges of cells, and the model has no cell: leave them out")

    def narrow(site: CandidateSite, module: nn.Module) -> nn.Module:
        if site.edge is None:
            return module
        return _narrowed(copy_module(module), k, f"candidate {site.candidate!r} of edge {site.edge} of {site.key}")

    candidates = transform_candidates(model, narrow)
    try:
        transform_edges(model, lambda _: PartialChannels(k))
    except SpaceError:
        candidates.remove()
        raise


def _narrowed(module: nn.Module, k: int, place: str) -> nn.Module:
    """Return a module with 1/k of the channels in each of its layers, which are replaced in place."""
    if type(module) is nn.Conv2d:
        return _narrow_convolution(module, k, place)
    if type(module) is nn.BatchNorm2d:
        return _narrow_norm(module, k, place)
    if [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
        raise SpaceError(
            f"{place} has a layer of type {type(module).__name__}: partial channels narrow torch's Conv2d and"
            " BatchNorm2d, and layers without parameters"
        )
    for name, child in module.named_children():
        module.add_module(name, _narrowed(child, k, place))
    return module


def _part(channels: int, k: int, layer: str, place: str) -> int:
    if channels % k:
        raise SpaceError(
            f"{place} has a {layer} of {channels} channels, which partial channels cannot divide by {k}:"
            " choose a divisor, or more channels"
        )
    return channels // k


def _narrow_convolution(layer: nn.Conv2d, k: int, place: str) -> nn.Conv2d:
    c_in, c_out = (_part(channels, k, "Conv2d", place) for channels in (layer.in_channels, layer.out_channels))
    groups = c_in if layer.groups == layer.in_channels else layer.groups
    if c_in % groups or c_out % groups:
        raise SpaceError(
            f"{place} has a Conv2d of {groups} groups, which do not divide the {c_in} channels that partial channels"
            " leave it: choose a smaller divisor, or more channels"
        )
    return nn.Conv2d(
        c_in,
        c_out,
        layer.kernel_size,  # type: ignore[arg-type]  # torch declares tuples of any length on the module
        layer.stride,  # type: ignore[arg-type]
        layer.padding,  # type: ignore[arg-type]
        layer.dilation,  # type: ignore[arg-type]
        groups,
        layer.bias is not None,
        layer.padding_mode,
        device=layer.weight.device,
        dtype=layer.weight.dtype,
    )


def _narrow_norm(layer: nn.BatchNorm2d, k: int, place: str) -> nn.BatchNorm2d:
    tensor = next((each for each in (layer.weight, layer.running_mean) if each is not None), torch.empty(0))
    return nn.BatchNorm2d(
        _part(layer.num_features, k, "BatchNorm2d", place),
        layer.eps,
        layer.momentum,
        layer.affine,
        layer.track_running_stats,
        device=tensor.device,
        dtype=tensor.dtype,
    )
