"""Partial channel connections on the edges of a cell (PC-DARTS: Xu et al., arXiv 1907.05737, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasreg.errors import SpaceError


class PartialChannels(nn.Module):
    """Lets the first C/K channels of a state through the candidates of an edge, and the others past them.

    Both are concatenated, and the channels shuffled, so that the next edge lets others through. Where the candidates
    halve the image, the others are max-pooled. What differs from the authors' program: sides may be odd; they are
    rounded up, as those of the candidates are.

    It is the transform of an edge (``nasreg.nn.transform_edges``) whose candidates have C/K channels; see
    ``nasreg.nn.use_partial_channels``, which makes both.

    Args:
        k: K, the number of parts that the channels are divided into.
    """

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, x: Tensor, mixed: Callable[[Tensor], Tensor]) -> Tensor:
        """Compute an edge: ``(B, C, H, W)`` to the same shape, or half the sides.

        Args:
            x: The state that the edge starts from.
            mixed: The mixed operation, ``(B, C / K, H, W)`` to ``(B, C / K, H', W')``.

        Raises:
            SpaceError: C is not divisible by K, or the mixed operation changes the number of channels.
        """
        n = self.n_mixed(x)
        return self.join(mixed(x[:, :n]), x[:, n:])

    def n_mixed(self, x: Tensor) -> int:
        """Return C/K, the number of channels of a state that go through the candidates.

        Raises:
            SpaceError: C is not divisible by K.
        """
        channels = x.shape[1]
        if channels % self.k:
            raise SpaceError(
                f"partial channels divide the channels of a cell into {self.k}, but it has {channels}: choose a divisor"
                " of them, or another number of channels"
            )
        return channels // self.k

    def join(self, mixed: Tensor, past: Tensor) -> Tensor:
        """Concatenate what went through the candidates and the other channels, and shuffle the channels.

        Raises:
            SpaceError: There are not K times as many channels as those that went through.
        """
        self.check_mixed(mixed.shape, past.shape[1] // (self.k - 1))
        return shuffle_channels(torch.cat([mixed, pooled(past, mixed.shape)], 1), self.k)

    def check_mixed(self, shape: torch.Size, n_mixed: int) -> None:
        """Check the number of channels in the shape of a mixed operation's output.

        Raises:
            SpaceError: It is not that of its input.
        """
        if len(shape) != 4 or shape[1] != n_mixed:
            raise SpaceError(
                f"partial channels need candidates that keep the number of channels, but for an input of {n_mixed}"
                f" they return {tuple(shape)}"
            )


def pooled(past: Tensor, shape: torch.Size) -> Tensor:
    """Return the channels that go past the candidates of an edge, max-pooled if these halve the image.

    Args:
        past: ``(B, C, H, W)``.
        shape: Shape of the candidates' output.
    """
    return past if past.shape[2:] == shape[2:] else F.max_pool2d(past, 2, 2, ceil_mode=True)


def shuffle_channels(x: Tensor, groups: int) -> Tensor:
    """Return ``(B, C, H, W)`` with the channels in the order: the first of each group, the second of each, ..."""
    batch, channels, height, width = x.shape
    return x.reshape(batch, groups, channels // groups, height, width).transpose(1, 2).reshape(x.shape)
