"""What a network costs (parameters, multiply-accumulates, memory, latency), and what each candidate of a space costs.

Measured on real modules and images of the real shape. The modules are copied and not changed.
"""

from __future__ import annotations

import copy
import functools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from statistics import fmean
from typing import Any, NamedTuple, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nasreg.device import is_out_of_memory, resolve_device
from nasreg.errors import ConfigError, SpaceError, TrainingError
from nasreg.nn import Cell, LayerChoice
from nasreg.nn.choices import Answer, Choice
from nasreg.nn.extract import extract_space, named_choices
from nasreg.registry import Registry, default_registry
from nasreg.resolve import space_component
from nasreg.specs import CellSpec, DataInfo, LayerChoiceSpec, Spec

NETWORK_SECONDS = 0.2
CANDIDATE_SECONDS = 0.005
"""So long is a latency measured at least; a space has hundreds of candidates."""


class Latency(Spec):
    """How long a forward pass takes, in evaluation mode and without gradients."""

    batch_size: int = Field(description="images in the batch")
    median_ms: float = Field(description="median of the rounds, in milliseconds")
    spread_ms: float = Field(description="distance between the first and third quartile of the rounds, in milliseconds")
    rounds: int = Field(description="number of rounds; a round of a fast network is several passes")


class NetworkProfile(Spec):
    """What a network costs."""

    image: tuple[int, int, int] = Field(description="channels, height and width of an image")
    device: str = Field(description="where it was measured")
    threads: int = Field(description="threads of torch on the CPU")
    parameters: int = Field(description="number of parameters")
    macs: int = Field(description="multiply-accumulates of convolutions and matrix products for one image")
    batch_size: int = Field(description="images in the batch that activations and the second latency are of")
    activation_bytes: int = Field(
        description="bytes that a forward pass of the batch in training mode saves for the backward pass, the images"
        " among them, parameters and buffers not; memory that several tensors share counts once"
    )
    latency: tuple[Latency, Latency] = Field(description="of one image, and of the batch")


class CandidateCost(Spec):
    """What a candidate costs at one place of a search space."""

    path: str = Field(description="the candidate's place in the model")
    candidate: str = Field(description="its name")
    parameters: int = Field(description="number of parameters")
    macs: int = Field(description="multiply-accumulates of one image")
    latency: Latency


class MeanCost(Spec):
    """What a candidate costs on average over its places."""

    places: int = Field(description="number of places")
    parameters: float = Field(description="mean number of parameters")
    macs: float = Field(description="mean multiply-accumulates of one image")
    latency_ms: float = Field(description="mean of the median latencies, in milliseconds")


def profile_network(
    network: nn.Module,
    info: DataInfo,
    *,
    device: str = "cpu",
    batch_size: int = 64,
    rounds: int = 20,
    seconds: float = NETWORK_SECONDS,
) -> NetworkProfile:
    """Measure what a network costs.

    Args:
        network: Takes ``(B, C, H, W)`` images.
        info: Shape of the images.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        batch_size: Images in the batch; 2 at least, since training may normalise over the batch.
        rounds: About so often is each latency measured, and more often where that is done at once.
        seconds: So long is each latency measured at least.

    Raises:
        ConfigError: ``batch_size`` or ``rounds`` is too small.
        TrainingError: Out of memory.
        UsageError: There is no such device.
    """
    _check(batch_size, rounds, smallest=2)
    place = resolve_device(device)
    with _measuring(place, batch_size, info):
        network = copy.deepcopy(network).to(place)
        one, batch = _images(1, info, place), _images(batch_size, info, place)
        activations = _activation_bytes(network.train(), batch)
        network.eval()
        return NetworkProfile(
            image=(info.channels, info.height, info.width),
            device=str(place),
            threads=torch.get_num_threads(),
            parameters=_parameters(network),
            macs=_macs(partial(network, one)),
            batch_size=batch_size,
            activation_bytes=activations,
            latency=(
                _latency(partial(network, one), 1, place, rounds, seconds),
                _latency(partial(network, batch), batch_size, place, rounds, seconds),
            ),
        )


def candidate_costs(
    space: nn.Module | str,
    info: DataInfo,
    options: Mapping[str, Any] | None = None,
    *,
    device: str = "cpu",
    batch_size: int = 1,
    rounds: int = 5,
    registry: Registry | None = None,
) -> dict[str, tuple[CandidateCost, ...]]:
    """Measure what each candidate of a search space costs, wherever the space has it.

    The supernet computes a batch once, and each candidate is measured by itself on what it was given there. Choices of
    inputs cost nothing and are left out, as is what the supernet does not call.

    Args:
        space: A model with choices in it, the name of a space, or ``"package.module:factory"``.
        info: Shape of the images and the classes.
        options: Options of a space that is given by name.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        batch_size: Images that the latency is of.
        rounds: About so often is each latency measured, and more often where that is done at once.
        registry: Where names are looked up; by default what is installed.

    Returns:
        Key of a choice -> its candidates, at each place that asks for this decision.

    Raises:
        ConfigError: An option does not exist or cannot take its value.
        SpaceError: The space cannot be built, or has no choices.
        TrainingError: Out of memory.
        UnknownNameError: There is no such space.
    """
    _check(batch_size, rounds, smallest=1)
    place = resolve_device(device)
    if isinstance(space, str):
        model = space_component(registry or default_registry(), space).build(info, options or {})
        if not isinstance(model, nn.Module):
            raise SpaceError(f"space {space!r} gave a {type(model).__name__}, not an nn.Module")
    else:
        model = copy.deepcopy(space)
    extract_space(model)  # tells what is wrong with it
    costs: dict[str, list[CandidateCost]] = {}
    with _measuring(place, batch_size, info):
        for key, path, name, candidate, call in _calls(model.to(place).eval(), _images(batch_size, info, place)):
            cost = CandidateCost(
                path=path,
                candidate=name,
                parameters=_parameters(candidate),
                macs=_macs(call) // batch_size,
                latency=_latency(call, batch_size, place, rounds, CANDIDATE_SECONDS),
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
    """A candidate, and the call of it that the supernet makes."""

    key: str
    path: str
    name: str
    candidate: nn.Module
    call: Callable[[], Any]


def _calls(model: nn.Module, images: Tensor) -> list[_Call]:
    """Run the supernet once and find out what each candidate is given."""
    found: list[_Call] = []
    handles = []

    def record(key: str, candidates: Mapping[str, nn.Module], path: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            for name, candidate in candidates.items():
                found.append(_Call(key, f"{path}.{name}", name, candidate, partial(candidate, *args, **kwargs)))

        return hook

    for key, path, choice, _ in named_choices(model):
        if choice._source is not None:
            continue  # the same module at another place
        choice.bind(partial(_answer, choice, images.device))
        if isinstance(choice, LayerChoice):  # all take the same: only one need be computed
            hook = record(key, dict(choice.candidates.items()), f"{path}.candidates".lstrip("."))
            handles.append(choice.register_forward_pre_hook(hook, with_kwargs=True))
        elif isinstance(choice, Cell):
            for number, edge in enumerate(choice.edges):
                for name, candidate in cast("nn.ModuleDict", edge).items():
                    hook = record(key, {name: candidate}, f"{path}.edges.{number}".lstrip("."))
                    handles.append(candidate.register_forward_pre_hook(hook, with_kwargs=True))
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    return found


def _answer(choice: Choice, device: torch.device) -> Answer:
    """Decide a choice so that every place that has candidates is reached."""
    spec = choice.spec("choice", ())
    if isinstance(spec, CellSpec):
        return [torch.ones(len(names), device=device) for names in spec.candidates]
    return spec.candidates[0] if isinstance(spec, LayerChoiceSpec) else spec.candidates[: spec.n_chosen]


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _macs(call: Callable[[], Any]) -> int:
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


def _latency(call: Callable[[], Any], batch_size: int, device: torch.device, rounds: int, seconds: float) -> Latency:
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


def _check(batch_size: int, rounds: int, smallest: int) -> None:
    for name, value, least in (("batch_size", batch_size, smallest), ("rounds", rounds, 1)):
        if value < least:
            raise ConfigError(f"{name}: {value} is not right: expected {least} or more")


@contextmanager
def _measuring(device: torch.device, batch_size: int, info: DataInfo) -> Iterator[None]:
    """Leave torch's random state as it was, and say what there was no memory for."""
    devices = [device] if device.type != "cpu" else []
    with torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"):
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            images = f"{batch_size} images of {info.channels}x{info.height}x{info.width}"
            raise TrainingError(f"out of memory on {device} with {images}: make the batch smaller") from error
