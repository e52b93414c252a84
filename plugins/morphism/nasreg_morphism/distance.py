"""The edit distance of two networks (Jin, Song, Hu, arXiv 1806.10282, section 3.1), as Auto-Keras computes it.

The layers, a list, are aligned by dynamic programming: an inserted or deleted layer costs 1, another layer in its place
the mean relative difference of its sizes, or 1 where it is of another type. Skip connections are paired so that the sum
of their differences is smallest (the Hungarian algorithm). Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from nasreg_morphism.chain import Chain

Matrix = NDArray[np.float64]


class Layer(NamedTuple):
    """A layer: its type, and the sizes that its distance from another layer of the type depends on."""

    kind: str
    sizes: tuple[float, ...] = ()


class SkipConnection(NamedTuple):
    """A skip connection between two layers by their numbers."""

    source: int
    target: int
    kind: str


class Descriptor(NamedTuple):
    """What the edit distance depends on."""

    layers: tuple[Layer, ...]
    skips: tuple[SkipConnection, ...]


def describe(chain: Chain) -> Descriptor:
    """Return the descriptor of a chain: convolution, BatchNorm and ReLU of each block, pooling, the linear layer."""
    layers = [
        layer
        for block in chain
        for layer in (Layer("conv", (block.width, block.kernel, block.stride)), Layer("norm"), Layer("relu"))
    ]
    skips = [
        SkipConnection(skip.source, number, skip.kind)
        for number, block in enumerate(chain)
        for skip in sorted(block.skips)
    ]
    return Descriptor((*layers, Layer("pool"), Layer("linear")), tuple(skips))


@lru_cache(maxsize=2**16)  # a search compares the same few layers, and lists of them, again and again
def layer_distance(one: Layer, other: Layer) -> float:
    """Return the distance of two layers: 1 for another type, else the mean relative difference of their sizes."""
    if one.kind != other.kind:
        return 1.0
    if not one.sizes:
        return 0.0
    total = 0.0
    for a, b in zip(one.sizes, other.sizes, strict=True):
        total += abs(a - b) / max(a, b) if max(a, b) else 0.0
    return total / len(one.sizes)


@lru_cache(maxsize=2**14)
def layers_distance(one: tuple[Layer, ...], other: tuple[Layer, ...]) -> float:
    """Return the edit distance of two lists of layers."""
    row = [float(number) for number in range(len(other) + 1)]
    for number, layer in enumerate(one, 1):
        above, row = row, [float(number)]
        for (diagonal, up), partner in zip(pairwise(above), other, strict=True):
            row.append(min(row[-1] + 1, up + 1, diagonal + layer_distance(layer, partner)))
    return row[-1]


def skip_distance(one: SkipConnection, other: SkipConnection) -> float:
    """Return the distance of two skip connections: 1 for another kind, else by where they start and their lengths."""
    if one.kind != other.kind:
        return 1.0
    lengths = abs(one.target - one.source), abs(other.target - other.source)
    scale = max(one.source, other.source) + max(lengths)
    return (abs(one.source - other.source) + abs(lengths[0] - lengths[1])) / scale


def skips_distance(one: Sequence[SkipConnection], other: Sequence[SkipConnection]) -> float:
    """Return the smallest sum of distances of paired skip connections, plus 1 for each that has no partner."""
    unpaired = float(abs(len(one) - len(other)))
    if not one or not other:
        return unpaired
    distances = np.array([[skip_distance(a, b) for b in other] for a in one])
    return float(distances[linear_sum_assignment(distances)].sum()) + unpaired


def edit_distance(one: Descriptor, other: Descriptor, skip_weight: float = 1.0) -> float:
    """Return the edit distance of two networks."""
    return layers_distance(one.layers, other.layers) + skip_weight * skips_distance(one.skips, other.skips)


def distances(ones: Sequence[Descriptor], others: Sequence[Descriptor], skip_weight: float = 1.0) -> Matrix:
    """Return the edit distances of all pairs: ``(len(ones), len(others))``."""
    found: list[list[Any]] = [[edit_distance(one, other, skip_weight) for other in others] for one in ones]
    return np.array(found, dtype=float).reshape(len(ones), len(others))
