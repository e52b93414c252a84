"""A network on disk: its weights as safetensors, with all that builds it again. Imports torch.

What builds it again is in the header of the file, or in a JSON file beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import safetensors
import safetensors.torch
from pydantic import Field, model_validator
from safetensors import SafetensorError
from torch import Tensor, nn

from nasreg.errors import ConfigError, WeightsError
from nasreg.networks import Source, build_network, network_options
from nasreg.registry import Registry, default_registry
from nasreg.resolve import OBJECT, space_component
from nasreg.runs import atomic_write
from nasreg.shape import DataShape
from nasreg.specs import Architecture, Selection, Spec
from nasreg.specs.base import parse

_HEADER = "nasreg"
_AUXILIARY = "auxiliary_head."
_NAMED = 3
"""So many of the tensors that differ are named."""


class NetworkRecipe(Spec):
    """All that ``build_network`` needs to build a network again, no default left out, and where its weights are."""

    format: Literal[1] = Field(default=1, description="version of this file format")
    space: str = Field(description="name of the space, or package.module:factory")
    options: dict[str, Any] = Field(description="options of the space")
    architecture: Architecture | None = Field(default=None, description="the architecture, or")
    genotype: str | None = Field(default=None, description="the genotype that makes one")
    data: DataShape = Field(description="shape of the images, classes, and what the images are normalised with")
    dataset: Selection | None = Field(default=None, description="data set that it was trained on")
    metrics: dict[str, float] = Field(default_factory=dict, description="what was measured after its last epoch")
    weights: str | None = Field(
        default=None, pattern=r"^[^/\\]+\.safetensors$", description="name of the file beside this one with the weights"
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> NetworkRecipe:
        if (self.architecture is None) == (self.genotype is None):
            raise ValueError("expected either an architecture or a genotype")
        return self

    def build(self, registry: Registry | None = None) -> nn.Module:
        """Build the network, with new weights.

        Raises:
            NasregError: As ``build_network``.
        """
        source = Source("the recipe", self.space, {}, self.architecture, self.genotype)
        return build_network(source, self.data.info, self.options, registry=registry)


def network_recipe(
    source: Source, data: DataShape, options: Mapping[str, Any] | None = None, *, registry: Registry | None = None
) -> NetworkRecipe:
    """Return how ``build_network(source, data.info, options)`` builds a network.

    Raises:
        ConfigError: An option does not exist or cannot take its value.
        UnknownNameError: There is no such space.
    """
    registry = registry or default_registry()
    config = space_component(registry, source.space).config
    values = parse(config, network_options(source, options, registry), "space").model_dump(mode="json")
    return NetworkRecipe(
        space=source.space, options=values, architecture=source.architecture, genotype=source.genotype, data=data
    )


def save_network(path: Path, network: nn.Module, recipe: NetworkRecipe) -> None:
    """Write the weights of a network, and in the header of the file how to build it again.

    Those of an auxiliary head, which only training needs, are left out.

    Args:
        path: A ``.safetensors`` file; it is written atomically.
        network: The network.
        recipe: How it is built without an auxiliary head.
    """
    tensors = {
        name: value.detach().cpu().contiguous()
        for name, value in network.state_dict().items()
        if not name.startswith(_AUXILIARY)
    }
    header = {_HEADER: recipe.model_dump_json(exclude={"weights"})}  # one key: several come in an order of chance
    with atomic_write(path) as file:
        file.write(safetensors.torch.save(tensors, header))


def read_recipe(path: str | Path) -> NetworkRecipe:
    """Read how to build a network again.

    Args:
        path: A ``.safetensors`` file of a retraining, or the JSON file beside an exported one.

    Raises:
        ConfigError: The JSON file cannot be read, or does not say.
        WeightsError: The ``.safetensors`` file cannot be read, or does not say.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        try:
            with safetensors.safe_open(str(path), "pt") as file:
                text = (file.metadata() or {}).get(_HEADER)
        except (OSError, SafetensorError) as error:
            raise WeightsError(f"cannot read {path}: {' '.join(str(error).split())}") from error
        if text is None:
            raise WeightsError(f"{path} does not say how its network is built: nasreg did not write it")
    else:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot read {path}: {error}") from error
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    return parse(NetworkRecipe, values, "", dict.fromkeys(NetworkRecipe.model_fields, str(path)))


def load_network(path: str | Path, *, space: str | None = None, registry: Registry | None = None) -> nn.Module:
    """Build a network again, with its weights, in eval mode.

    Args:
        path: A ``.safetensors`` file of a retraining, or the JSON file beside an exported one.
        space: ``"package.module:factory"``, where the network is of a space of your own: a file alone does not decide
            which code is run.
        registry: Where names are looked up; by default what is installed.

    Raises:
        ConfigError: The file cannot be read or is no such JSON, or its space has to be given.
        WeightsError: The weights cannot be read, or are of another network.
        NasregError: As ``build_network``.
    """
    path, recipe = Path(path), read_recipe(path)
    if path.suffix != ".safetensors":
        if recipe.weights is None:
            raise ConfigError(f"{path} does not say where the weights are")
        path = path.parent / recipe.weights
    if space not in (None, recipe.space):
        raise ConfigError(f"{path} is of the search space {recipe.space!r}, not of {space!r}")
    if ":" in recipe.space and not recipe.space.startswith(OBJECT) and space is None:
        raise ConfigError(
            f"{path} is of a space of somebody's own, {recipe.space!r}: if you trust it, name it too (--space"
            f" {recipe.space}, from Python space={recipe.space!r})"
        )
    network = recipe.build(registry)
    load_weights(network, path)
    return network.eval()


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Set the weights of a network, all of them and no other.

    Args:
        network: The network.
        path: A safetensors file with its state dict.

    Raises:
        WeightsError: The file cannot be read, or is of another network; the network is left as it was.
    """
    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise WeightsError(f"cannot read weights {path}: {error}") from error
    set_weights(network, tensors, f"weights {path}")


def set_weights(network: nn.Module, tensors: Mapping[str, Tensor], title: str) -> None:
    """Set the weights of a network from a state dict, all of them and no other.

    Args:
        network: The network.
        tensors: The state dict.
        title: What it is, for the error.

    Raises:
        WeightsError: They are of another network, which is left as it was.
    """
    own = network.state_dict()
    differing = {
        "missing": [name for name in own if name not in tensors],
        "unknown": [name for name in tensors if name not in own],
        "of another shape or type": [
            f"{name} ({_kind(tensors[name])} instead of {_kind(own[name])})"
            for name in own
            if name in tensors and _kind(tensors[name]) != _kind(own[name])
        ],
    }
    if any(differing.values()):
        parts = [f"{len(names)} are {what}: {_some(names)}" for what, names in differing.items() if names]
        raise WeightsError(f"{title} are of another network, which has {len(own)} tensors: {'; '.join(parts)}")
    network.load_state_dict(dict(tensors), strict=True)


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {'x'.join(map(str, tensor.shape)) or 'scalar'}"


def _some(names: list[str]) -> str:
    return ", ".join(name[:100] for name in names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
