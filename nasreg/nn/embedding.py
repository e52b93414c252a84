"""An embedding table whose sizes may be decided by choices of values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from nasreg.nn.elastic import ElasticLayer, Sizes
from nasreg.nn.value_choice import Value


class Embedding(ElasticLayer, nn.Embedding):
    """``torch.nn.Embedding`` whose sizes may be decided: indices of any shape to ``(..., embedding_dim)``.

    It also holds what a transformer adds to its inputs, such as the embeddings of positions.

    Args:
        num_embeddings: A number or a value.
        embedding_dim: A number or a value.
        device: See ``torch.nn.Embedding``.
        dtype: See ``torch.nn.Embedding``.

    Raises:
        SpaceError: A size may be invalid.
    """

    def __init__(self, num_embeddings: Value, embedding_dim: Value, device: Any = None, dtype: Any = None) -> None:
        sizes = Sizes("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        largest, widest = max(sizes.possible("num_embeddings")), max(sizes.possible("embedding_dim"))
        super().__init__(largest, widest, device=device, dtype=dtype)
        self.sizes = sizes

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # as in torch
        """Look indices up in the slice of this forward pass."""
        weight = cast("Tensor", self.slices(self.sizes())["weight"])
        return F.embedding(input, weight)

    def slices(self, sizes: Mapping[str, int]) -> dict[str, Tensor | None]:
        """Return the leading entries of the leading embeddings."""
        return {"weight": self.weight[: sizes["num_embeddings"], : sizes["embedding_dim"]]}

    def plain(self, sizes: Mapping[str, int]) -> nn.Module:
        """Return torch's layer of some sizes, on the meta device."""
        return nn.Embedding(sizes["num_embeddings"], sizes["embedding_dim"], device="meta")
