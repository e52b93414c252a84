"""From an architecture to a network: finding it, building it, its weight files, input shape, cost and export."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasreg.networks.block_profile import BlockProfile, profile_blocks
    from nasreg.networks.blocks import Block, network_blocks
    from nasreg.networks.build import build_network, plan_network
    from nasreg.networks.costs import SpaceProfile, profile_space
    from nasreg.networks.export import ExportReport, example_images, export_network
    from nasreg.networks.inputs import InputSpec, input_spec
    from nasreg.networks.profile import NetworkProfile, candidate_costs, profile_network
    from nasreg.networks.references import ArchitectureRef, find_architecture
    from nasreg.networks.weights import NetworkManifest, load_network, network_manifest, save_network

_HOMES = {
    "block_profile": ("BlockProfile", "profile_blocks"),
    "blocks": ("Block", "network_blocks"),
    "build": ("build_network", "plan_network"),
    "costs": ("SpaceProfile", "profile_space"),
    "export": ("ExportReport", "example_images", "export_network"),
    "inputs": ("InputSpec", "input_spec"),
    "profile": ("NetworkProfile", "candidate_costs", "profile_network"),
    "references": ("ArchitectureRef", "find_architecture"),
    "weights": ("NetworkManifest", "load_network", "network_manifest", "save_network"),
}
_HOME = {name: f"nasreg.networks.{module}" for module, names in _HOMES.items() for name in names}

__all__ = [
    "ArchitectureRef",
    "Block",
    "BlockProfile",
    "ExportReport",
    "InputSpec",
    "NetworkManifest",
    "NetworkProfile",
    "SpaceProfile",
    "build_network",
    "candidate_costs",
    "example_images",
    "export_network",
    "find_architecture",
    "input_spec",
    "load_network",
    "network_blocks",
    "network_manifest",
    "plan_network",
    "profile_blocks",
    "profile_network",
    "profile_space",
    "save_network",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        found = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
