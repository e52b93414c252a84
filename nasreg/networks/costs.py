"""The costs of a network, and of the architectures of a search space: what a budget may limit. Imports torch."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import torch
from pydantic import Field
from torch import nn

from nasreg.config.lookup import space_source
from nasreg.config.sources import SpaceSource
from nasreg.networks.build import network_of
from nasreg.networks.extremes import extreme_architectures
from nasreg.networks.profile import CANDIDATE_SECONDS, check_least, computing, count_macs, measure_latency, measuring
from nasreg.networks.references import describe_space
from nasreg.nn.parameters import parameter_count
from nasreg.registry import Registry, default_registry
from nasreg.specs import Architecture, Config, DataInfo, Spec
from nasreg.specs.arguments import checked_arguments
from nasreg.specs.base import parse
from nasreg.specs.trial import COSTS, LATENCY, PARAMETERS
from nasreg.trainers.config import Budget
from nasreg.trainers.device import resolve_device

LATENCY_ROUNDS = 10


class ArchitectureCost(Spec):
    """The cost of the network of an architecture."""

    parameters: int = Field(description="number of parameters")
    macs: int = Field(description="multiply-accumulates of convolutions and matrix products for one image")
    latency_ms: float = Field(description="median latency of one image, in milliseconds")
    architecture: Architecture = Field(description="the architecture")


class BudgetProfile(Spec):
    """What a budget admits."""

    limit: float = Field(description="the budget; a share is a number by now")
    reachable: bool | None = Field(
        description="whether an architecture meets it; null if none of those that were measured does, but another might"
    )
    share: float | None = Field(
        description="share of the random architectures that meets it; null for the latency, which is measured of none"
    )


class SpaceProfile(Spec):
    """What the architectures of a search space cost."""

    space: str = Field(description="the space")
    image: tuple[int, int, int] = Field(description="channels, height and width of an image")
    device: str = Field(description="device of the measurement")
    threads: int = Field(description="threads of torch on the CPU")
    n_decisions: int = Field(description="number of elementary decisions of an architecture")
    n_architectures: int = Field(description="number of architectures")
    smallest: ArchitectureCost = Field(description="the architecture with the fewest parameters")
    middle: ArchitectureCost = Field(description="one in the middle of each choice, by parameters")
    largest: ArchitectureCost = Field(description="the architecture with the most parameters")
    budgets: dict[str, BudgetProfile] = Field(description="name of a cost -> its budget")
    samples: int = Field(description="number of random architectures that were measured; 0 without a budget of theirs")
    share: float | None = Field(description="share of them that meets all budgets but that of the latency")


class _Budgets(Config):
    max_parameters: Budget | None = None
    max_macs: Budget | None = None
    max_latency_ms: Budget | None = None


def network_costs(
    network: nn.Module, info: DataInfo, names: Collection[str], device: torch.device
) -> dict[str, int | float]:
    """Measure costs of a network.

    Args:
        network: Takes ``(B, C, H, W)`` images; its mode is changed.
        info: Shape of the images.
        names: Which of ``parameters``, ``macs`` and ``latency_ms``; the last two are of one image.
        device: Where the latency is measured.

    Raises:
        SpaceError: The network cannot compute such an image.
    """
    found: dict[str, int | float] = {}
    if "parameters" in names:
        found["parameters"] = parameter_count(network)
    if "macs" in names or "latency_ms" in names:
        network = network.to(device).eval()
        call = partial(network, torch.zeros(1, info.channels, info.height, info.width, device=device))
        with computing(info.channels, info.height, info.width):
            if "macs" in names:
                found["macs"] = count_macs(call)
            if "latency_ms" in names:
                found["latency_ms"] = measure_latency(call, 1, device, LATENCY_ROUNDS, CANDIDATE_SECONDS).median_ms
    return found


@checked_arguments("space")
def profile_space(
    space: nn.Module | Callable[..., nn.Module] | str,
    info: DataInfo,
    options: Mapping[str, Any] | None = None,
    *,
    max_parameters: float | str | None = None,
    max_macs: float | str | None = None,
    max_latency_ms: float | str | None = None,
    samples: int = 100,
    seed: int = 0,
    device: str = "cpu",
    registry: Registry | None = None,
) -> SpaceProfile:
    """Measure what the architectures of a search space cost, and what budgets would admit.

    Networks are built as the trials of a search are. The smallest and the largest architecture are those with the
    fewest and the most parameters (see ``extreme_architectures``); others may have fewer or more multiply-accumulates,
    or be faster or slower.

    Args:
        space: A class or function that builds the model, a model with choices in it, the name of a space, or
            ``"package.module:name"``.
        info: Shape of the images and the classes.
        options: Options of the space.
        max_parameters: Budget: a number, or text such as ``"50%"`` for a share of the largest architecture.
        max_macs: Budget of the multiply-accumulates of one image.
        max_latency_ms: Budget of the latency of one image.
        samples: Number of random architectures to measure where there is a budget of parameters or
            multiply-accumulates.
        seed: Seed of the random architectures.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``: where the latency is measured.
        registry: Where names are looked up; by default what is installed.

    Raises:
        ConfigError: An option does not exist or cannot take its value, or a budget is invalid.
        SpaceError: The space cannot be built, has no choices, or cannot compute such images.
        TrainingError: Out of memory.
        UnknownNameError: There is no such space.
    """
    budgets = {"max_parameters": max_parameters, "max_macs": max_macs, "max_latency_ms": max_latency_ms}
    source = space_source(registry or default_registry(), space)
    return profile_source(source, info, options, budgets, samples=samples, seed=seed, device=device)


def profile_source(
    source: SpaceSource,
    info: DataInfo,
    options: Mapping[str, Any] | None,
    max_costs: Mapping[str, float | str | None],
    *,
    retrained: bool = True,
    samples: int = 100,
    seed: int = 0,
    device: str = "cpu",
) -> SpaceProfile:
    """Measure what the architectures of a space cost; see ``profile_space``.

    Args:
        source: The space.
        info: Shape of the images and the classes.
        options: Options of the space.
        max_costs: Budgets by name, such as ``max_parameters``.
        retrained: Whether to measure networks in the form in which the space is retrained, as the trials of a search
            are, or as a part of its supernet.
        samples: Number of random architectures to measure where there is a budget of theirs.
        seed: Seed of the random architectures.
        device: Where the latency is measured.

    Raises:
        NasregError: As ``profile_space``.
    """
    check_least("samples", samples, 1)
    budgets = parse(_Budgets, max_costs, "")
    place = resolve_device(device)
    source.check_network()
    values = {**(options or {}), **(source.retrain_options if retrained else {})}
    spec = describe_space(source, values, info)

    def measured(architecture: Architecture, names: Collection[str], where: torch.device) -> dict[str, float]:
        return network_costs(network_of(source, info, values, architecture.decisions), info, names, where)

    names = [cost.name for cost in COSTS]
    with measuring(place, 1, info):
        architectures = extreme_architectures(source, options or {}, spec, info)
        smallest, middle, largest = (measured(each, names, place) for each in architectures)
        given = {name: getattr(budgets, f"max_{name}") for name in names}
        limits = {name: _limit(limit, largest[name]) for name, limit in given.items() if limit is not None}
        counted = [name for name in limits if name != LATENCY.name]
        rng = random.Random(seed)
        drawn = [measured(spec.sample(rng), counted, torch.device("cpu")) for _ in range(samples if counted else 0)]

    def budget(name: str, limit: float) -> BudgetProfile:
        known = [each[name] for each in (smallest, middle, largest, *drawn) if name in each]
        # Only of the parameters is the smallest architecture known to have the fewest.
        unreachable = False if name == PARAMETERS.name else None
        share = _share([each[name] <= limit for each in drawn]) if name in counted else None
        return BudgetProfile(limit=limit, reachable=min(known) <= limit or unreachable, share=share)

    cost_of = {
        which: ArchitectureCost.model_validate({**costs, "architecture": getattr(architectures, which)})
        for which, costs in (("smallest", smallest), ("middle", middle), ("largest", largest))
    }
    return SpaceProfile(
        space=source.reference.title,
        image=(info.channels, info.height, info.width),
        device=str(place),
        threads=torch.get_num_threads(),
        n_decisions=spec.n_decisions,
        n_architectures=spec.size(),
        **cost_of,
        budgets={name: budget(name, limit) for name, limit in limits.items()},
        samples=len(drawn),
        share=_share([all(each[name] <= limits[name] for name in counted) for each in drawn]) if drawn else None,
    )


def _limit(budget: float | str, largest: float) -> float:
    return float(budget.removesuffix("%")) / 100 * largest if isinstance(budget, str) else float(budget)


def _share(met: list[bool]) -> float:
    return sum(met) / len(met)
