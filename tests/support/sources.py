"""Every kind of thing that a network is built from, each as small as can be."""

from __future__ import annotations

import random
from pathlib import Path

import torch

import nasreg
from nasreg.networks.build import build_network
from nasreg.specs import DataInfo

SMALL = {"cells": 3, "channels": 4}
GENOTYPE = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1), ('dil_conv_3x3', 0), ('sep_conv_5x5', 2)],"
    " normal_concat=range(2, 4),"
    " reduce=[('max_pool_3x3', 0), ('avg_pool_3x3', 1), ('skip_connect', 0), ('dil_conv_5x5', 2)],"
    " reduce_concat=range(2, 4))"
)
"""Every operation of the space darts, in cells half as large as those of the papers."""
SMALL_WORDS = ("--set", "space.cells=3", "--set", "space.channels=4")


def info(side: int = 16, classes: int = 5) -> DataInfo:
    return DataInfo(channels=3, height=side, width=side, classes=tuple(f"class {number}" for number in range(classes)))


def chain_model() -> torch.nn.Module:
    from nasreg.spaces.chain import build
    from nasreg.spaces.config import ChainSpaceConfig

    return build(info(), ChainSpaceConfig(blocks=2, channels=4))


def chain_architecture(folder: Path) -> Path:
    """Write an architecture of the chain space."""
    path = folder / "chain.json"
    space = nasreg.extract_space(chain_model())
    path.write_text(space.sample(random.Random(1)).to_json())
    return path


def search(folder: Path) -> Path:
    """Search for an architecture of cells on digits; return the run directory."""
    nasreg.search(
        "darts",
        "digits",
        algorithm="darts",
        space_options={"cells": 2, "channels": 2, "nodes": 2, "candidates": ["none", "skip_connect", "sep_conv_3x3"]},
        dataset_options={"limit": 100},
        trainer={"epochs": 1},
        device="cpu",
        out=folder / "run",
    )
    return folder / "run"


def trained(source: str | Path, space: str | None = None, **options: object) -> torch.nn.Module:
    """Return a network whose weights and running means are not those of a new one, in evaluation mode."""
    found = nasreg.find_architecture(source, space=space)
    network = build_network(found, info(), options)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(5)
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        network(torch.randn(8, 3, 16, 16))
    return network.eval()
