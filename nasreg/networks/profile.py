"""The cost of a network (parameters, multiply-accumulates, memory, latency), and of each candidate of a space.

Measured with the modules themselves, on images of the right shape. The modules are copied and not changed.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from statistics import fmean
from typing import Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nasreg.config.lookup import space_source
from nasreg.errors import ConfigError, NasregError, SpaceError, TrainingError, one_line
from nasreg.nn import Answer, CandidateSite, Choice, candidate_sites, extract_space, named_choices
from nasreg.nn.copying import copy_module
from nasreg.nn.parameters import parameter_count
from nasreg.registry import Registry, default_registry
from nasreg.specs import CellSpec, DataInfo, InputChoiceSpec, RepeatSpec, Spec, ValueChoiceSpec
from nasreg.specs.arguments import checked_arguments
from nasreg.trainers.device import is_out_of_memory, resolve_device

NETWORK_SECONDS = 0.2
CANDIDATE_SECONDS = 0.005
"""Minimum time for which a latency is measured; a space has hundreds of candidates."""


class Latency(Spec):
    """Latency of a forward pass, in evaluation mode and without gradients."""

    batch_size: int = Field(description="images in the batch")
    median_ms: float = Field(description="median of the rounds, in milliseconds")
    min_ms: float = Field(description="the shortest round, which other work on the machine disturbed least")
    spread_ms: float = Field(description="distance between the first and third quartile of the rounds, in milliseconds")
    rounds: int = Field(description="number of rounds; a round of a fast network is several passes")


class NetworkProfile(Spec):
    """The cost of a network."""

    image: tuple[int, int, int] = Field(description="channels, height and width of an image")
    device: str = Field(description="device of the measurement")
    threads: int = Field(description="threads of torch on the CPU")
    parameters: int = Field(description="number of parameters")
    macs: int = Field(description="multiply-accumulates of convolutions and matrix products for one image")
    batch_size: int = Field(description="images in the batch for activations and the second latency")
    activation_bytes: int = Field(
        description="bytes that a forward pass of the batch in training mode saves for the backward pass, including the"
        " images, excluding parameters and buffers; memory that several tensors share counts once"
    )
    latency: tuple[Latency, Latency] = Field(description="of one image, and of the batch")


class CandidateCost(Spec):
    """The cost of a candidate at one place of a search space."""

    path: str = Field(description="the candidate's place in the model")
    candidate: str = Field(description="its name")
    parameters: int = Field(description="number of parameters")
    macs: int = Field(description="multiply-accumulates of one image")
    latency: Latency


class MeanCost(Spec):
    """The mean cost of a candidate over its places."""

    places: int = Field(description="number of places")
    parameters: float = Field(description="mean number of parameters")
    macs: float = Field(description="mean multiply-accumulates of one image")
    latency_ms: float = Field(description="mean of the median latencies, in milliseconds")


@checked_arguments("space")
def profile_network(
    network: nn.Module,
    info: DataInfo,
    *,
    device: str = "cpu",
    batch_size: int = 64,
    rounds: int = 20,
    seconds: float = NETWORK_SECONDS,
) -> NetworkProfile:
    """Measure the cost of a network.

    Args:
        network: Takes ``(B, C, H, W)`` images.
        info: Shape of the images.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        batch_size: Images in the batch; 2 at least, since training may normalise over the batch.
        rounds: Approximate number of measurements of each latency; fast networks are measured more often.
        seconds: Minimum time for which each latency is measured.

    Raises:
        ConfigError: ``batch_size`` or ``rounds`` is too small.
        SpaceError: The network cannot compute such images.
        TrainingError: Out of memory.
        UsageError: There is no such device.
    """
    check_least("batch_size", batch_size, 2)
    check_least("rounds", rounds, 1)
    place = resolve_device(device)
    with measuring(place, batch_size, info):
        network = copy_module(network).to(place)
        one, batch = _images(1, info, place), _images(batch_size, info, place)
        with computing(info.channels, info.height, info.width):
            activations = _activation_bytes(network.train(), batch)
        network.eval()
        return NetworkProfile(
            image=(info.channels, info.height, info.width),
            device=str(place),
            threads=torch.get_num_threads(),
            parameters=parameter_count(network),
            macs=count_macs(partial(network, one)),
            batch_size=batch_size,
            activation_bytes=activations,
            latency=(
                measure_latency(partial(network, one), 1, place, rounds, seconds),
                measure_latency(partial(network, batch), batch_size, place, rounds, seconds),
            ),
        )


@checked_arguments("space")
def candidate_costs(
    space: nn.Module | Callable[..., nn.Module] | str,
    info: DataInfo,
    options: Mapping[str, Any] | None = None,
    *,
    device: str = "cpu",
    batch_size: int = 1,
    rounds: int = 5,
    registry: Registry | None = None,
) -> dict[str, tuple[CandidateCost, ...]]:
    """Measure the cost of each candidate of a search space, at every place where the space has it.

    The supernet computes a batch once, and each candidate is measured by itself on its input there. Choices of inputs
    cost nothing and are left out, and so are candidates that the supernet does not call.

    Args:
        space: A class or function that builds the model, a model with choices in it, the name of a space, or
            ``"package.module:name"``.
        info: Shape of the images and the classes.
        options: Options of the space.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        batch_size: Images in the batch for the latency.
        rounds: Approximate number of measurements of each latency; fast candidates are measured more often.
        registry: Where names are looked up; by default what is installed.

    Returns:
        Key of a choice -> its candidates, at each place that asks for this decision.

    Raises:
        ConfigError: An option does not exist or cannot take its value.
        SpaceError: The space cannot be built, has no choices, or cannot compute such images.
        TrainingError: Out of memory.
        UnknownNameError: There is no such space.
    """
    check_least("batch_size", batch_size, 1)
    check_least("rounds", rounds, 1)
    place = resolve_device(device)
    source = space_source(registry or default_registry(), space)
    costs: dict[str, list[CandidateCost]] = {}
    with measuring(place, batch_size, info):
        model = source.build(info, options or {})
        if not source.builds_anew:
            model = copy_module(model)
        extract_space(model)  # raises if it has no valid space
        for key, path, name, candidate, call in _calls(model.to(place).eval(), _images(batch_size, info, place)):
            cost = CandidateCost(
                path=path,
                candidate=name,
                parameters=parameter_count(candidate),
                macs=count_macs(call) // batch_size,
                latency=measure_latency(call, batch_size, place, rounds, CANDIDATE_SECONDS),
            )
            costs.setdefault(key, []).append(cost)
    return {key: tuple(each) for key, each in costs.items()}


def mean_costs(costs: Mapping[str, Sequence[CandidateCost]]) -> dict[str, dict[str, MeanCost]]:
    """Return the means over the places: key of a choice -> candidate -> mean cost, candidates in their order."""
    means: dict[str, dict[str, MeanCost]] = {}
    for key, each in costs.items():
        for name in dict.fromkeys(cost.candidate for cost in each):
            own = [cost for cost in each if cost.candidate == name]
            means.setdefault(key, {})[name] = MeanCost(
                places=len(own),
                parameters=fmean(cost.parameters for cost in own),
                macs=fmean(cost.macs for cost in own),
                latency_ms=fmean(cost.latency.median_ms for cost in own),
            )
    return means


class _Call(NamedTuple):
    """A candidate, and the call that the supernet makes of it."""

    key: str
    path: str
    name: str
    candidate: nn.Module
    call: Callable[[], Any]


def _calls(model: nn.Module, images: Tensor) -> list[_Call]:
    """Run the supernet once and record the input of each candidate."""
    found: list[_Call] = []
    handles = []

    def record(candidates: Sequence[tuple[CandidateSite, nn.Module]]) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            for site, candidate in candidates:
                call = partial(candidate, *args, **kwargs)
                found.append(_Call(site.key, site.path, site.candidate, candidate, call))

        return hook

    for _, _, choice, _ in named_choices(model):
        choice.bind(partial(choice_answer, choice, images.device))
    layers: dict[str, list[tuple[CandidateSite, nn.Module]]] = {}
    for site, candidate in candidate_sites(model):
        if site.edge is None:  # all candidates of a layer have the same input: only one need be computed
            layers.setdefault(site.choice_path, []).append((site, candidate))
        else:
            hook = record([(site, candidate)])
            handles.append(candidate.register_forward_pre_hook(hook, with_kwargs=True))
    for path, candidates in layers.items():
        layer = model.get_submodule(path)
        handles.append(layer.register_forward_pre_hook(record(candidates), with_kwargs=True))
    with torch.no_grad(), computing(*images.shape[1:]):
        model(images)
    for handle in handles:
        handle.remove()
    return found


def choice_answer(choice: Choice, device: torch.device) -> Answer:
    """Answer a choice so that every place with candidates is reached."""
    spec = choice.spec("choice", ())
    if isinstance(spec, CellSpec):
        return [torch.ones(len(names), device=device) for names in spec.candidates]
    if isinstance(spec, InputChoiceSpec):
        return spec.candidates[: spec.n_chosen]
    if isinstance(spec, RepeatSpec):
        return spec.depths[-1]
    return spec.values[0] if isinstance(spec, ValueChoiceSpec) else spec.candidates[0]


def count_macs(call: Callable[[], Any]) -> int:
    """Return the multiply-accumulates of convolutions and matrix products in a call."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops()) // 2  # an addition and a multiplication each


def _activation_bytes(network: nn.Module, images: Tensor) -> int:
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    saved: dict[int, torch.UntypedStorage] = {}  # held, so that no address is used twice

    def save(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        network(images)
    return sum(storage.nbytes() for address, storage in saved.items() if address not in own)


def measure_latency(
    call: Callable[[], Any], batch_size: int, device: torch.device, rounds: int, seconds: float
) -> Latency:
    """Measure the latency of a call.

    Args:
        call: The call.
        batch_size: Images in its batch.
        device: Where it computes.
        rounds: Approximate number of measurements.
        seconds: Minimum time of all of them.
    """

    def run() -> None:
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elif device.type == "mps":
            torch.mps.synchronize()

    timer = _timer()("run()", globals={"run": run}, timer=time.perf_counter, num_threads=torch.get_num_threads())
    with torch.inference_mode():
        once = timer.timeit(1).median  # this warms up before it measures
        measured = timer.blocked_autorange(min_run_time=max(seconds, rounds * once))
    return Latency(
        batch_size=batch_size,
        median_ms=measured.median * 1e3,
        min_ms=min(measured.times) * 1e3,
        spread_ms=measured.iqr * 1e3,
        rounds=len(measured.times),
    )


@functools.cache
def _timer() -> Any:
    # It comes with the compiler of C++ extensions, which warns of a CUDA without a GPU, although nothing is compiled.
    logger = logging.getLogger("torch.utils.cpp_extension")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        from torch.utils.benchmark import Timer
    finally:
        logger.setLevel(level)
    return Timer


def _images(number: int, info: DataInfo, device: torch.device) -> Tensor:
    return torch.randn(number, info.channels, info.height, info.width, device=device)


def check_least(name: str, value: int, least: int) -> None:
    """Check that an argument is large enough.

    Raises:
        ConfigError: It is not.
    """
    if value < least:
        raise ConfigError(f"{name}: {value} is invalid: expected {least} or more")


@contextmanager
def computing(*shape: int) -> Iterator[None]:
    """Turn what goes wrong when a model computes images of a shape, except a lack of memory, into a ``SpaceError``."""
    try:
        yield
    except Exception as error:
        if isinstance(error, NasregError) or is_out_of_memory(error):
            raise
        images = "x".join(map(str, shape))
        raise SpaceError(f"the model cannot compute images of {images}: {one_line(error)}") from error


@contextmanager
def measuring(device: torch.device, batch_size: int, info: DataInfo) -> Iterator[None]:
    """Restore torch's random state afterwards, and turn a lack of memory into a ``TrainingError``."""
    devices = [device] if device.type != "cpu" else []
    with torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"):
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            images = f"{batch_size} images of {info.channels}x{info.height}x{info.width}"
            raise TrainingError(f"out of memory on {device} with {images}: make the batch smaller") from error
