"""The measured blocks of a search space, and how well they predict the cost of whole networks. Imports torch."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from pydantic import Field
from torch import nn

from nasreg.config.lookup import space_source
from nasreg.networks.block_costs import PASSES, measure_blocks, shortest_latency
from nasreg.networks.costs import network_costs
from nasreg.networks.profile import CANDIDATE_SECONDS, check_least, measuring
from nasreg.nn import extract_space, freeze
from nasreg.registry import Registry, default_registry
from nasreg.specs import Architecture, DataInfo, Spec
from nasreg.specs.arguments import checked_arguments
from nasreg.specs.cost_table import CostTable
from nasreg.specs.trial import COSTS, LATENCY, MACS, PARAMETERS
from nasreg.trainers.device import resolve_device


class Prediction(Spec):
    """The costs of the network of an architecture, as the blocks predict them and as it was measured."""

    architecture: Architecture = Field(description="the architecture")
    predicted: dict[str, float] = Field(description="name of a cost -> the sum over the blocks")
    measured: dict[str, float] = Field(description="name of a cost -> that of the whole network")


class BlockProfile(Spec):
    """The costs of the blocks of a search space, and predictions made with them."""

    space: str = Field(description="the space")
    table: CostTable = Field(description="the costs of the blocks")
    predictions: tuple[Prediction, ...] = Field(description="of random architectures")


@checked_arguments("space")
def profile_blocks(
    space: nn.Module | Callable[..., nn.Module] | str,
    info: DataInfo,
    options: Mapping[str, Any] | None = None,
    *,
    device: str = "cpu",
    batch_size: int = 1,
    samples: int = 5,
    seed: int = 0,
    registry: Registry | None = None,
) -> BlockProfile:
    """Measure the blocks of a search space, as a one-shot search with a budget does, and check what they predict.

    Each block is measured once, for each combination of the decisions that its cost depends on. The cost of a network
    is predicted as the sum over its blocks, and compared with a measurement of the whole network.

    Args:
        space: A class or function that builds the model, a model with choices in it, the name of a space, or
            ``"package.module:name"``.
        info: Shape of the images and the classes.
        options: Options of the space.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        batch_size: Images in the batch whose latency is measured.
        samples: Number of random architectures to check.
        seed: Seed of the random architectures.
        registry: Where names are looked up; by default what is installed.

    Raises:
        ConfigError: An option does not exist or cannot take its value.
        SpaceError: The space cannot be built or cannot compute such images, or the cost of a block depends on too much.
        TrainingError: Out of memory.
        UnknownNameError: There is no such space.
    """
    check_least("batch_size", batch_size, 1)
    check_least("samples", samples, 0)
    place = resolve_device(device)
    source = space_source(registry or default_registry(), space)
    source.check_network()
    names = [cost.name for cost in COSTS]
    with measuring(place, batch_size, info):
        model = source.build(info, options or {})
        spec = extract_space(model)
        table = measure_blocks(model, info, names, device=place, batch_size=batch_size)
        rng = random.Random(seed)
        architectures = [spec.sample(rng) for _ in range(samples)]
        networks = [freeze(model, architecture) for architecture in architectures]
        counted = [network_costs(each, info, (PARAMETERS.name, MACS.name), place) for each in networks]
        images = torch.zeros(batch_size, info.channels, info.height, info.width, device=place)
        calls = [partial(network.eval().to(place), images) for network in networks]
        passes = [
            [shortest_latency(call, batch_size, place, 10 * CANDIDATE_SECONDS) for call in calls] for _ in range(PASSES)
        ]
    predictions = []
    for number, architecture in enumerate(architectures):
        measured = {**counted[number], LATENCY.name: min(each[number] for each in passes)}
        predicted = {name: table.predict(name, spec, architecture) for name in names}
        predictions.append(Prediction(architecture=architecture, predicted=predicted, measured=measured))
    return BlockProfile(space=source.reference.title, table=table, predictions=tuple(predictions))
