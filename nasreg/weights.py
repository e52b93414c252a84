"""Weights of a network in a file that anybody can read safely (safetensors), and what it takes to build it again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from pydantic import Field, ValidationError
from torch import nn

from nasreg.errors import CheckpointError
from nasreg.networks import Source, build_network
from nasreg.registry import Registry
from nasreg.runs import atomic_write
from nasreg.specs import Architecture, DataInfo, Selection, Spec

_CARD = "nasreg"
_AUXILIARY = "auxiliary_head."


class NetworkCard(Spec):
    """What it takes to build a network again and to feed it images; in the header of the file of its weights."""

    format: int = Field(default=1, ge=1, le=1, description="version of this file format")
    source: str = Field(description="where the architecture is from")
    architecture: Architecture = Field(description="the architecture")
    space: Selection = Field(description="its search space, and how deep and wide the network is")
    info: DataInfo = Field(description="shape of the images, and the classes by label")
    dataset: Selection = Field(description="data set that it was trained on")
    mean: list[float] | None = Field(description="subtracted from each channel in 0..1; null for floating-point images")
    std: list[float] | None = Field(description="that each channel is divided by then")
    metrics: dict[str, float] = Field(default_factory=dict, description="what was measured")

    def build(self, registry: Registry | None = None) -> nn.Module:
        """Build the network with new weights; raises as ``nasreg.build_network`` does."""
        source = Source(self.source, self.space.name, self.space.options, self.architecture, None)
        return build_network(source, self.info, registry=registry)


def save_weights(path: Path, network: nn.Module, card: NetworkCard) -> None:
    """Write the weights of a network, without those of an auxiliary head, which only training needs.

    Args:
        path: A ``.safetensors`` file; it is written atomically.
        network: The network.
        card: What it is.
    """
    state: Mapping[str, Any] = network.state_dict()
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in state.items() if not name.startswith(_AUXILIARY)
    }
    with atomic_write(path) as file:
        file.write(safetensors.torch.save(tensors, {_CARD: card.model_dump_json()}))


def load_network(path: str | Path, registry: Registry | None = None) -> tuple[nn.Module, NetworkCard]:
    """Build the network that a file holds the weights of, in eval mode.

    Args:
        path: What ``save_weights`` wrote, such as the ``best.safetensors`` of a retraining.
        registry: Where its space is looked up.

    Returns:
        The network, ``(B, C, H, W)`` normalised images to ``(B, classes)`` logits, and what is known of it.

    Raises:
        CheckpointError: The file cannot be read, was not written by nasreg, or does not fit the network.
        NasregError: As ``build_network``.
    """
    try:
        with safetensors.safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    if _CARD not in metadata:
        raise CheckpointError(f"{path} does not say what network it is of: nasreg did not write it")
    try:
        card = NetworkCard.model_validate_json(metadata[_CARD])
    except ValidationError as error:
        raise CheckpointError(f"{path} does not say what network it is of: {error.errors()[0]['msg']}") from error
    network = card.build(registry)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit its network: {' '.join(str(error).split())[:300]}") from error
    return network.eval(), card
