"""The space of vision transformers: depth, embedding width, and in each block the heads and the width of the MLP.

Chen, Peng, Fu, Ling: AutoFormer: Searching Transformers for Visual Recognition, arXiv 2107.00651, section 3 and the
authors' program: all sizes share one largest weight, of which the leading slices are used; a head has a fixed width,
so that the number of heads decides how wide queries, keys and values are; positions are absolute and relative, by row
and column (Shaw et al., arXiv 1803.02155); the patches are averaged before the classifier. What differs: the side of
the patches adapts to the size of the images.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

import nasreg.nn as elastic
from nasreg.errors import SpaceError
from nasreg.nn import Repeat, ValueChoice
from nasreg.nn.value_choice import Value
from nasreg.spaces.config import VitSpaceConfig
from nasreg.specs.data import DataInfo

PATCHES = (16, 4, 2, 1)
"""Sides of a patch that are tried where none is given, in pixels."""

MIN_PATCHES = 4
"""By default there are at least so many patches along a side."""

HEAD_WIDTH = 64

States = tuple[Tensor, Tensor, Tensor]
"""Tokens ``(B, N, width)``, and of each pair of them, ``(N, N)``, the numbers of the distances in rows and columns."""


class Form(NamedTuple):
    """A published space."""

    blocks: int
    """The largest depth."""
    widths: tuple[int, ...]
    heads: tuple[int, ...]
    ratios: tuple[float, ...]


FORMS = {
    "tiny": Form(14, (192, 216, 240), (3, 4), (3.5, 4.0)),
    "small": Form(14, (320, 384, 448), (5, 6, 7), (3.0, 3.5, 4.0)),
    "base": Form(16, (528, 576, 624), (8, 9, 10), (3.0, 3.5, 4.0)),
}


class RelativePositions(nn.Module):
    """Embeddings of the distances between tokens, which all heads of a block share.

    Args:
        max_distance: Distance from which on all are alike.
        width: Width of a head.
    """

    def __init__(self, max_distance: int, width: int) -> None:
        super().__init__()
        self.rows = nn.Embedding(2 * max_distance + 2, width)
        self.columns = nn.Embedding(2 * max_distance + 2, width)

    def forward(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the embedding of each pair of tokens: two times ``(N, N)`` to ``(N, N, width)``."""
        both: Tensor = self.rows(rows) + self.columns(columns)
        return both


class Attention(nn.Module):
    """Self-attention with relative positions: ``(B, N, width)`` to the same shape.

    Args:
        width: Width of the embedding.
        heads: Number of heads.
        head_width: Width of each.
        max_distance: See ``RelativePositions``.
    """

    def __init__(self, width: Value, heads: Value, head_width: int, max_distance: int) -> None:
        super().__init__()
        self.head_width = head_width
        self.qkv = elastic.Linear(width, heads * (3 * head_width))
        self.keys = RelativePositions(max_distance, head_width)
        self.values = RelativePositions(max_distance, head_width)
        self.project = elastic.Linear(heads * head_width, width)

    def forward(self, x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Attend to all tokens; ``rows`` and ``columns`` are as in ``States``."""
        # Queries, keys and values alternate, so that the first heads of all three are a leading slice.
        qkv = self.qkv(x).unflatten(2, (-1, self.head_width, 3)).transpose(1, 2)
        query, key, value = qkv[..., 0] * self.head_width**-0.5, qkv[..., 1], qkv[..., 2]
        scores = query @ key.transpose(2, 3) + torch.einsum("bhqc,qkc->bhqk", query, self.keys(rows, columns))
        weights = scores.softmax(-1)
        found = weights @ value + torch.einsum("bhqk,qkc->bhqc", weights, self.values(rows, columns))
        projected: Tensor = self.project(found.transpose(1, 2).flatten(2))
        return projected


class TransformerBlock(nn.Module):
    """Attention and an MLP, each with LayerNorm before and a shortcut around it.

    Args:
        width: Width of the embedding.
        heads: Number of heads.
        ratio: Width of the MLP as a multiple of the embedding.
        head_width: Width of a head.
        config: Options of the space.
    """

    def __init__(self, width: Value, heads: Value, ratio: Value, head_width: int, config: VitSpaceConfig) -> None:
        super().__init__()
        hidden = width * ratio
        self.norm1 = elastic.LayerNorm(width)
        self.attention = Attention(width, heads, head_width, config.max_distance)
        self.norm2 = elastic.LayerNorm(width)
        self.mlp = nn.Sequential(elastic.Linear(width, hidden), nn.GELU(), elastic.Linear(hidden, width))
        self.drop: nn.Module = StochasticDepth(0.0, mode="row") if config.phase == "retrain" else nn.Identity()

    def forward(self, states: States) -> States:
        """Compute the tokens; the distances are passed on."""
        x, rows, columns = states[0], states[1], states[2]
        x = x + self.drop(self.attention(self.norm1(x), rows, columns))
        return x + self.drop(self.mlp(self.norm2(x))), rows, columns


class VisionTransformer(nn.Module):
    """Patches and positions, transformer blocks, mean of the patches, linear classifier.

    ``(B, C, H, W)`` images to ``(B, classes)`` logits.
    """

    numbers: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(self, info: DataInfo, config: VitSpaceConfig) -> None:
        super().__init__()
        form = FORMS[config.form]
        factor = 1.0 if config.channels is None else config.channels / max(form.widths)
        widths = config.widths or tuple(dict.fromkeys(max(2, 2 * round(width * factor / 2)) for width in form.widths))
        ratios = config.ratios or form.ratios
        _check_whole(widths, ratios)
        head_width = config.head_width or max(1, round(HEAD_WIDTH * factor))
        patch = _patch(info, config)
        n_rows, n_columns = info.height // patch, info.width // patch
        tokens = n_rows * n_columns + 1

        width = _value(widths, "width")
        self.patches = elastic.Conv2d(info.channels, width, patch, stride=patch)
        self.first = elastic.Embedding(1, width)
        self.positions = elastic.Embedding(tokens, width)
        self.register_buffer("numbers", torch.arange(tokens), persistent=False)
        for name, places in (("rows", _rows(n_rows, n_columns)), ("columns", _columns(n_rows, n_columns))):
            self.register_buffer(name, distances(places, config.max_distance), persistent=False)

        def block(index: int) -> TransformerBlock:
            heads = _value(config.heads or form.heads, f"heads{index}")
            return TransformerBlock(width, heads, _value(ratios, f"ratio{index}"), head_width, config)

        largest = config.blocks or form.blocks
        depths = range(max(1, largest - config.depths + 1), largest + 1)
        fixed = len(depths) == 1
        self.blocks = nn.Sequential(*map(block, range(largest))) if fixed else Repeat(block, depths, key="depth")
        self.norm = elastic.LayerNorm(width)
        self.head = elastic.Linear(width, info.n_classes)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Classify ``(B, C, H, W)`` images: ``(B, classes)`` logits."""
        patches = self.patches(x).flatten(2).transpose(1, 2)
        first = self.first(self.numbers[:1]).expand(patches.shape[0], -1, -1)
        tokens = torch.cat([first, patches], 1) + self.positions(self.numbers)
        states = self.blocks((tokens, self.rows, self.columns))
        logits: Tensor = self.head(self.norm(states[0])[:, 1:].mean(1))
        return logits


def build(info: DataInfo, config: VitSpaceConfig) -> VisionTransformer:
    """Build the supernet, or with ``phase="retrain"`` the network that is frozen to be retrained.

    Raises:
        SpaceError: The image cannot be divided into patches, or a width of an MLP is not a whole number.
    """
    return VisionTransformer(info, config)


def distances(places: Tensor, max_distance: int) -> Tensor:
    """Return the number of the distance between each pair of tokens, of which the first has no place.

    Args:
        places: The row (or column) of each patch, ``(N - 1,)``.
        max_distance: Larger distances are alike.

    Returns:
        ``(N, N)``: 0 for a pair with the first token, else 1 to ``2 * max_distance + 1``.
    """
    between = (places[None, :] - places[:, None]).clamp(-max_distance, max_distance) + max_distance + 1
    return F.pad(between, (1, 0, 1, 0))


def _rows(n_rows: int, n_columns: int) -> Tensor:
    return torch.arange(n_rows).repeat_interleave(n_columns)


def _columns(n_rows: int, n_columns: int) -> Tensor:
    return torch.arange(n_columns).repeat(n_rows)


def _value(values: tuple[float, ...], key: str) -> Value:
    return values[0] if len(values) == 1 else ValueChoice(values, key=key)


def _check_whole(widths: tuple[int, ...], ratios: tuple[float, ...]) -> None:
    for width in widths:
        for ratio in ratios:
            if width * ratio != int(width * ratio):
                raise SpaceError(
                    f"space.widths and space.ratios: {width} times {ratio:g} is no whole number, which the width of an"
                    " MLP must be"
                )


def _patch(info: DataInfo, config: VitSpaceConfig) -> int:
    """Return the side of a patch, in pixels."""
    sides = (info.height, info.width)
    if config.patch is not None:
        if any(side % config.patch for side in sides):
            raise SpaceError(
                f"an image of {info.height}x{info.width} pixels cannot be divided into patches of {config.patch}: set"
                " space.patch to a divisor of both, or dataset.image_size"
            )
        return config.patch
    for patch in PATCHES:
        if all(side % patch == 0 and side // patch >= MIN_PATCHES for side in sides):
            return patch
    return 1


def _initialise(module: nn.Module) -> None:
    """Initialise as the authors' program does: normal with a standard deviation of 0.02, biases 0."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.trunc_normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
