"""Weight files: safetensors, with everything needed to rebuild the network. Imports torch.

The manifest that rebuilds it is in the header of the file, or in a JSON file beside it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import safetensors
import safetensors.torch
from pydantic import Field, model_validator
from safetensors import SafetensorError
from torch import Tensor, nn

from nasreg.config.lookup import find_space, space_source
from nasreg.config.sources import SpaceSource
from nasreg.errors import ConfigError, WeightsError
from nasreg.networks.build import build_network
from nasreg.networks.inputs import InputSpec
from nasreg.networks.references import ArchitectureRef
from nasreg.nn.parameters import AUXILIARY_HEAD
from nasreg.registry import Registry, default_registry
from nasreg.runs import files
from nasreg.runs.directory import RunDirectory
from nasreg.runs.writing import atomic_write
from nasreg.specs import Architecture, Selection, Spec
from nasreg.specs.arguments import checked_arguments
from nasreg.specs.base import parse
from nasreg.specs.references import CodeRef, ObjectRef, parse_reference

_HEADER = "nasreg"
_WRAPPERS = {"module.": "DataParallel or DistributedDataParallel", "_orig_mod.": "torch.compile"}
_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
"""Suffixes of files that torch.save writes."""
_MAX_NAMED = 3
"""How many of the tensors that differ an error names."""


class NetworkManifest(Spec):
    """Everything that ``build_network`` needs to rebuild a network, no default left out, and where its weights are."""

    format: Literal[2] = Field(default=2, description="version of this file format")
    space: str = Field(description="reference to the space")
    options: dict[str, Any] = Field(description="options of the space")
    architecture: Architecture | None = Field(default=None, description="the architecture, or")
    genotype: str | None = Field(default=None, description="the genotype from which it follows")
    data: InputSpec = Field(description="shape of the images, classes, and the normalisation of the images")
    dataset: Selection | None = Field(default=None, description="data set that it was trained on")
    task: str = Field(default="classification", description="name of the task that it was trained for")
    metrics: dict[str, float] = Field(default_factory=dict, description="metrics after its last epoch")
    weights: str | None = Field(
        default=None, pattern=r"^[^/\\]+\.safetensors$", description="name of the file beside this one with the weights"
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> NetworkManifest:
        if (self.architecture is None) == (self.genotype is None):
            raise ValueError("expected either an architecture or a genotype")
        return self

    def build(
        self, registry: Registry | None = None, import_path: str | None = None, space: SpaceSource | None = None
    ) -> nn.Module:
        """Build the network, with new weights.

        Args:
            registry: Where names are looked up.
            import_path: Directory to import the user's own space from, if it is not found otherwise.
            space: The space, if the caller has it.

        Raises:
            NasregError: As ``build_network``.
        """
        space = space or find_space(registry or default_registry(), self.space, import_path)
        source = ArchitectureRef("the manifest", space, {}, self.architecture, self.genotype)
        return build_network(source, self.data.info, self.options, registry=registry)


def network_manifest(
    source: ArchitectureRef, data: InputSpec, options: Mapping[str, Any] | None = None
) -> NetworkManifest:
    """Return the manifest of the network that ``build_network(source, data.info, options)`` builds.

    Raises:
        ConfigError: An option does not exist or has an invalid value.
    """
    given = {**source.options, **source.space.retrain_options, **(options or {})}
    values = parse(source.space.config, given, "space").model_dump(mode="json")
    return NetworkManifest(
        space=source.space.reference.text,
        options=values,
        architecture=source.architecture,
        genotype=source.genotype,
        data=data,
    )


def save_network(path: Path, network: nn.Module, manifest: NetworkManifest) -> None:
    """Write the weights of a network, and in the header of the file its manifest.

    Those of an auxiliary head, which only training needs, are left out. Tensors that share memory, as those of tied
    modules do, are written once for each name.

    Args:
        path: A ``.safetensors`` file; it is written atomically.
        network: The network.
        manifest: Its manifest, without an auxiliary head.
    """
    tensors = {
        name: value.detach().cpu().contiguous().clone()
        for name, value in network.state_dict().items()
        if not name.startswith(AUXILIARY_HEAD)
    }
    header = {_HEADER: manifest.model_dump_json(exclude={"weights"})}  # one key: the order of several is random
    with atomic_write(path) as file:
        file.write(safetensors.torch.save(tensors, header))


def read_manifest(path: str | Path) -> NetworkManifest:
    """Read the manifest of a network.

    Args:
        path: A ``.safetensors`` file of a retraining, the JSON file beside an exported one, or that file itself.

    Raises:
        ConfigError: The JSON file cannot be read, or is no manifest.
        WeightsError: The ``.safetensors`` file cannot be read, or has no manifest.
    """
    path = Path(path)
    _check_suffix(path)
    if path.suffix == ".safetensors":
        try:
            with safetensors.safe_open(str(path), "pt") as file:
                text = (file.metadata() or {}).get(_HEADER)
        except (OSError, SafetensorError) as error:
            raise WeightsError(f"cannot read {path}: {' '.join(str(error).split())}") from error
        beside = path.with_name(f"{path.name}.json")
        if text is None and beside.is_file():
            return read_manifest(beside)
        if text is None:
            raise WeightsError(
                f"{path} does not say how its network is built: nasreg did not write it, and there is no {beside.name}"
                " beside it"
            )
    else:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot read {path}: {error}") from error
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    return parse(NetworkManifest, values, "", dict.fromkeys(NetworkManifest.model_fields, str(path)))


@checked_arguments("space")
def load_network(
    path: str | Path,
    *,
    space: str | nn.Module | Callable[..., nn.Module] | None = None,
    registry: Registry | None = None,
) -> nn.Module:
    """Rebuild a network with its weights, in eval mode.

    Args:
        path: A ``.safetensors`` file of a retraining, or an exported one or the JSON file beside it.
        space: Reference to the space, or the class, function or model itself, if the network is of your own code and
            the file lies in no run directory, or the space was a Python object: a file alone does not decide which code
            is run.
        registry: Where names are looked up; by default what is installed.

    Raises:
        ConfigError: The file cannot be read or is no manifest, or its space has to be given.
        WeightsError: The weights cannot be read, or are those of another network.
        NasregError: As ``build_network``.
    """
    path, manifest = Path(path), read_manifest(path)
    if path.suffix != ".safetensors":
        if manifest.weights is None:
            raise ConfigError(f"{path} does not say where the weights are")
        path = path.parent / manifest.weights
    registry = registry or default_registry()
    reference = parse_reference(manifest.space)
    source = None if space is None else space_source(registry, space)
    if source is not None and not isinstance(reference, ObjectRef) and source.reference.text != manifest.space:
        given = space if isinstance(space, str) else source.reference.text
        raise ConfigError(f"{path} is of the search space {manifest.space!r}, not of {given!r}")
    run = _run_of(path, manifest)
    if isinstance(reference, CodeRef) and run is None and source is None:
        raise ConfigError(
            f"{path} is of your own search space {manifest.space!r}: if you trust the file, name the space, too"
            f" (--space {shlex.quote(manifest.space)}, from Python space={manifest.space!r})"
        )
    network = manifest.build(registry, run.import_path if run else None, source)
    load_weights(network, path)
    return network.eval()


def _run_of(path: Path, manifest: NetworkManifest) -> RunDirectory | None:
    """Return the run that wrote a file; like every command, it loads the code that its ``run.yaml`` names."""
    if not (path.absolute().parent / files.RUN).is_file():
        return None
    run = RunDirectory(path.absolute().parent)
    return run if run.spec.space.name == manifest.space else None


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Load the weights of a network; the file must have all of them and no others.

    Args:
        network: The network.
        path: A safetensors file with its state dict.

    Raises:
        WeightsError: The file cannot be read, or is that of another network, which is then left unchanged.
    """
    _check_suffix(Path(path))
    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise WeightsError(f"cannot read weights {path}: {error}") from error
    set_weights(network, tensors, f"weights {path}")


def set_weights(network: nn.Module, tensors: Mapping[str, Tensor], title: str) -> None:
    """Set the weights of a network from a state dict, which must have all of them and no others.

    Args:
        network: The network.
        tensors: The state dict.
        title: Where it comes from, for the error.

    Raises:
        WeightsError: They are those of another network; this one is left unchanged.
    """
    own = network.state_dict()
    for prefix, wrapper in _WRAPPERS.items():
        if tensors and all(name.startswith(prefix) for name in tensors) and not all(n.startswith(prefix) for n in own):
            raise WeightsError(
                f"{title} were saved from a network in {wrapper}: each name begins with {prefix!r}. Save those of the"
                f" network itself (network.{prefix.removesuffix('.')}.state_dict()), or remove the prefix:"
                f" {{name.removeprefix({prefix!r}): value for name, value in weights.items()}}"
            )
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


def _check_suffix(path: Path) -> None:
    if path.suffix in _PICKLES:
        raise WeightsError(
            f"{path} is a file of torch.save, which may hold code: nasreg reads safetensors. Convert it once with"
            f" safetensors.torch.save_file(torch.load({path.name!r}, weights_only=True),"
            f" {path.with_suffix('.safetensors').name!r})"
        )


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {'x'.join(map(str, tensor.shape)) or 'scalar'}"


def _some(names: list[str]) -> str:
    return ", ".join(name[:100] for name in names[:_MAX_NAMED]) + (", ..." if len(names) > _MAX_NAMED else "")
