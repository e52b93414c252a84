"""Measures the cost of each block of a search space, from which the cost of a network is predicted as their sum.

A block is a candidate of a layer choice or of a cell's edge, a module whose sizes are decided by values, or a module
that every architecture has. Each is called by itself on its input in the supernet, as in the latency table of
ProxylessNAS (arXiv 1812.00332, section 3.3). What modules compute between their blocks, such as sums, is left out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from nasreg.errors import SpaceError
from nasreg.networks.profile import (
    CANDIDATE_SECONDS,
    choice_answer,
    computing,
    count_macs,
    measure_latency,
    measuring,
)
from nasreg.nn import Cell, Choice, InputChoice, LayerChoice, Repeat, ValueChoice, extract_space, named_choices
from nasreg.nn.choices import join_path
from nasreg.nn.copying import copy_module
from nasreg.nn.elastic import ElasticLayer
from nasreg.nn.freeze import freeze_part
from nasreg.nn.mixture import tensors_in
from nasreg.nn.parameters import parameter_count
from nasreg.specs import DataInfo, Decision
from nasreg.specs.choices import RepeatSpec, ValueChoiceSpec
from nasreg.specs.cost_table import BlockCost, CostTable, Row
from nasreg.specs.space import NONE, SearchSpaceSpec
from nasreg.specs.trial import COSTS, LATENCY, MACS, PARAMETERS

MAX_COMBINATIONS = 512
"""Of the values that the costs of one block may depend on; a module with more is taken apart."""
ROUNDS, PASSES = 5, 3
"""A latency is the shortest round of several passes over all blocks: other work makes it longer, never shorter."""

Assignment = Mapping[str, Decision]
"""Key of a value or a depth -> its decision."""
Call = tuple[tuple[Any, ...], dict[str, Any]]
"""Arguments of a call."""


class _Block(NamedTuple):
    """A place of a supernet that is measured by itself."""

    path: str
    caller: nn.Module
    """The module whose input is recorded."""
    candidates: dict[str, nn.Module]
    """What is measured, by the option that it is computed for; one without a name for a block without candidates."""
    row: Row | None
    """The decision between the candidates."""
    values: tuple[str, ...]
    """Keys of the values that it reads."""
    depths: tuple[tuple[str, int], ...]
    """Keys of the stacks that it is in, and its number there."""


def measure_blocks(
    model: nn.Module,
    info: DataInfo,
    names: Collection[str] = (PARAMETERS.name, MACS.name, LATENCY.name),
    *,
    device: torch.device | None = None,
    batch_size: int = 1,
) -> CostTable:
    """Measure the costs of the blocks of a supernet.

    Args:
        model: A model with choices; it is copied.
        info: Shape of the images.
        names: Which of ``parameters``, ``macs`` (of one image) and ``latency_ms`` (of a batch).
        device: Where it computes; by default the CPU.
        batch_size: Images in a batch.

    Raises:
        SpaceError: The model cannot compute such images, or the cost of a block depends on too many decisions.
        TrainingError: Out of memory.
    """
    device = device or torch.device("cpu")
    space = extract_space(model)
    measure = _Measure(names, device, batch_size)
    with measuring(device, batch_size, info), torch.no_grad(), computing(info.channels, info.height, info.width):
        supernet = _Supernet(copy_module(model).to(device).eval(), space, info, device, batch_size)
        entries = [entry for block in supernet.blocks for entry in supernet.entries(block, measure)]
        measure.run()
    return CostTable(
        image=(info.channels, info.height, info.width),
        batch_size=batch_size,
        device=str(device),
        threads=torch.get_num_threads(),
        blocks=tuple(map(measure.costs, entries)),
    )


def shortest_latency(
    call: Callable[[], Any], batch_size: int, device: torch.device, seconds: float = CANDIDATE_SECONDS
) -> float:
    """Return the shortest of some rounds of a call, in milliseconds.

    Args:
        call: The call.
        batch_size: Images in its batch.
        device: Where it computes.
        seconds: Minimum time of all rounds.
    """
    return measure_latency(call, batch_size, device, ROUNDS, seconds).min_ms


class _Measured(NamedTuple):
    """What a module costs: its parameters, and its calls, whose costs ``_Measure`` knows."""

    parameters: int
    calls: tuple[object, ...]


class _Entry(NamedTuple):
    """A block whose costs are to be measured: one for each combination of its options."""

    path: str
    decisions: tuple[Row, ...]
    options: tuple[tuple[str, ...], ...]
    costs: list[_Measured]


class _Measure:
    """Measures calls, equal ones once."""

    def __init__(self, names: Collection[str], device: torch.device, batch_size: int) -> None:
        self._names = [cost.name for cost in COSTS if cost.name in names]
        self._device = device
        self._batch_size = batch_size
        self._calls: dict[object, Callable[[], Any] | None] = {}
        self._known: dict[object, dict[str, float]] = {}

    def add(self, module: nn.Module, calls: Sequence[Call]) -> _Measured:
        """Add a module with the arguments of each of its calls in a forward pass."""
        signatures = [_signature(module, arguments) for arguments in calls]
        for signature, (args, kwargs) in zip(signatures, calls, strict=True):
            free = type(module) is nn.Identity
            self._calls.setdefault(signature, None if free else partial(module, *args, **kwargs))
        return _Measured(parameter_count(module), tuple(signatures))

    def run(self) -> None:
        """Measure all calls."""
        self._known = {signature: dict.fromkeys(self._names, 0.0) for signature in self._calls}
        calls = [(self._known[signature], call) for signature, call in self._calls.items() if call is not None]
        if MACS.name in self._names:
            for known, call in calls:
                known[MACS.name] = count_macs(call) // self._batch_size
        if LATENCY.name in self._names:
            for number in range(PASSES):
                for known, call in calls:
                    latency = shortest_latency(call, self._batch_size, self._device)
                    known[LATENCY.name] = min(latency, known[LATENCY.name]) if number else latency

    def costs(self, entry: _Entry) -> BlockCost:
        """Return the costs of a block."""

        def total(name: str, each: _Measured) -> float:
            if name == PARAMETERS.name:
                return each.parameters
            return sum(self._known[signature][name] for signature in each.calls)

        costs = {name: tuple(total(name, each) for each in entry.costs) for name in self._names}
        return BlockCost(path=entry.path, decisions=entry.decisions, options=entry.options, costs=costs)


class _Supernet:
    """A supernet, its blocks, and their inputs for any values."""

    def __init__(
        self, model: nn.Module, space: SearchSpaceSpec, info: DataInfo, device: torch.device, batch_size: int
    ) -> None:
        self._model = model
        self._space = space
        self._images = torch.randn(batch_size, info.channels, info.height, info.width, device=device)
        self._keys: dict[nn.Module, str] = {choice: key for key, _, choice, _ in named_choices(model)}
        self._assignment: dict[str, Decision] = {}
        for key, _, choice, _ in named_choices(model):
            choice.bind(partial(self._answer, choice, key))
        self.blocks = [*self._blocks(model, "", ())]
        self._elastic = {spec.key: spec for spec in space.choices if isinstance(spec, ValueChoiceSpec | RepeatSpec)}
        # The largest depths, so that every block is called.
        self._base: dict[str, Decision] = {
            key: spec.depths[-1] if isinstance(spec, RepeatSpec) else spec.values[-1]
            for key, spec in self._elastic.items()
        }
        self._recorded: dict[tuple[tuple[str, Decision], ...], dict[str, list[Call]]] = {}
        self._affected: dict[str, list[str]] = {block.path: [] for block in self.blocks}
        values = {key: spec.values for key, spec in self._elastic.items() if isinstance(spec, ValueChoiceSpec)}
        # Where other values are the largest, such as strides, one may have no effect that it has elsewhere.
        for others in ({}, {key: each[0] for key, each in values.items()}):
            base = self._inputs(others)
            for key, each in values.items():
                for value in each:
                    self._compare(key, base, self._inputs({**others, key: value}))

    def _compare(self, key: str, base: Mapping[str, list[Call]], other: Mapping[str, list[Call]]) -> None:
        """Note which blocks get other inputs with another value of a choice."""
        for path, keys in self._affected.items():
            if key not in keys and list(map(_shapes, other[path])) != list(map(_shapes, base[path])):
                keys.append(key)

    def _answer(self, choice: Choice, key: str) -> Any:
        if key in self._assignment:
            return self._assignment[key]
        return choice_answer(choice, self._images.device)

    def _inputs(self, changed: Assignment) -> dict[str, list[Call]]:
        """Return the arguments of each block's calls where some values are not the largest."""
        changed = {key: value for key, value in changed.items() if value != self._base[key]}
        place = tuple(sorted(changed.items()))
        if place not in self._recorded:
            found: dict[str, list[Call]] = {block.path: [] for block in self.blocks}

            def record(path: str, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                found[path].append((args, kwargs))

            handles = [
                block.caller.register_forward_pre_hook(partial(record, block.path), with_kwargs=True)
                for block in self.blocks
            ]
            self._assignment = {**self._base, **changed}
            try:
                self._model(self._images)
            finally:
                for handle in handles:
                    handle.remove()
            self._recorded[place] = found
        return self._recorded[place]

    def entries(self, block: _Block, measure: _Measure) -> Iterator[_Entry]:
        """Yield what is to be measured of a block: nothing if the supernet never calls it."""
        affected = self._affected[block.path]
        keys = sorted({*block.values, *affected})
        specs = [self._elastic[key] for key in keys]
        values = [spec.values for spec in specs if isinstance(spec, ValueChoiceSpec)]
        if (count := math.prod(map(len, values))) > MAX_COMBINATIONS:
            raise SpaceError(
                f"the cost of {block.path or 'the model'} depends on {', '.join(map(repr, keys))}, which have {count:,}"
                f" combinations; at most {MAX_COMBINATIONS} are measured: a budget of MACs or latency cannot be kept"
            )
        if not self._inputs({})[block.path]:
            return
        found: list[_Measured] = []
        for numbers in itertools.product(*values):
            chosen: dict[str, Decision] = dict(zip(keys, numbers, strict=True))
            calls = self._inputs({key: chosen[key] for key in affected})[block.path]
            self._assignment = {**self._base, **chosen}
            found += [measure.add(self._frozen(block, module), calls) for module in block.candidates.values()]
        decisions: list[Row] = [(key, 0) for key in keys]
        options = [spec.names for spec in specs]
        if block.row is not None:
            decisions.append(block.row)
            options.append(tuple(block.candidates))
        for key, number in block.depths:  # computed at each larger depth, for the same cost
            depths = self._elastic[key]
            if isinstance(depths, RepeatSpec) and number >= depths.depths[0]:
                names = tuple(str(depth) for depth in depths.depths if depth > number)
                decisions.append((key, 0))
                options.append(names)
                found = [each for each in found for _ in names]
        yield _Entry(block.path, tuple(decisions), tuple(options), found)

    def _frozen(self, block: _Block, module: nn.Module) -> nn.Module:
        """Return a module with the present values, as a plain one."""
        if not block.values:
            return module
        choices = [each for each in module.modules() if isinstance(each, Choice)]
        return freeze_part(module, {choice: self._assignment[self._keys[choice]] for choice in choices})

    def _blocks(self, module: nn.Module, path: str, depths: tuple[tuple[str, int], ...]) -> Iterator[_Block]:
        """Yield the blocks in a module, in its order."""
        if isinstance(module, LayerChoice):
            row = (self._keys[module], 0)
            candidates = {name: module.candidates[name] for name in module.candidates}
            yield _Block(path, module, candidates, row, (), depths)
        elif isinstance(module, Cell):
            yield from self._edges(module, path, depths)
        elif isinstance(module, Repeat):
            if module.heads is not None:
                raise SpaceError(
                    f"{module.label} has a head for each depth, so that its blocks have no costs of their own: a budget"
                    " of MACs or latency cannot be kept"
                )
            for number, block in enumerate(module.blocks):
                yield from self._blocks(
                    block, join_path(path, "blocks", str(number)), (*depths, (self._keys[module], number))
                )
        elif isinstance(module, ValueChoice | InputChoice):
            return
        elif isinstance(module, Choice):
            raise SpaceError(f"{module.label} is a {type(module).__name__}, whose cost is not known")
        else:
            yield from self._plain(module, path, depths)

    def _plain(self, module: nn.Module, path: str, depths: tuple[tuple[str, int], ...]) -> Iterator[_Block]:
        """Yield the blocks in a module that is no choice: itself, if values decide what it costs, or nothing does."""
        choices = {each for each in module.modules() if isinstance(each, Choice)}
        values = {self._keys[each]: each for each in choices if isinstance(each, ValueChoice)}
        combinations = math.prod(len(each.values) for each in values.values())
        contained = list(module.named_children())
        whole = len(values) == len({self._keys[each] for each in choices})
        called = not isinstance(module, nn.ModuleList | nn.ModuleDict)
        if whole and called and (combinations <= MAX_COMBINATIONS or not contained or isinstance(module, ElasticLayer)):
            yield _Block(path, module, {"": module}, None, tuple(sorted(values)), depths)
            return
        for name, child in contained:
            yield from self._blocks(child, join_path(path, name), depths)

    def _edges(self, cell: Cell, path: str, depths: tuple[tuple[str, int], ...]) -> Iterator[_Block]:
        """Yield a block for each edge of a cell; all its candidates have one input."""
        for site in cell.edge_sites(self._keys[cell], path):
            modules = cell.modules_of(site.edge)
            candidates = {name: modules[name] for name in modules if name != NONE}
            first = next(iter(candidates.values()))
            row = (self._keys[cell], site.edge)
            yield _Block(join_path(path, "edges", str(site.edge)), first, candidates, row, (), depths)


def _shapes(call: Call) -> Any:
    return [tuple(x.shape) for x in tensors_in((*call[0], *call[1].values()))]


def _signature(module: nn.Module, call: Call) -> object:
    """Return what the cost of a call depends on, so that equal ones are measured once."""
    classes = tuple(type(each).__qualname__ for each in module.modules())
    weights = tuple(tuple(parameter.shape) for parameter in module.parameters())
    strides = tuple(x.stride() for x in tensors_in((*call[0], *call[1].values())))
    return repr(module), classes, weights, str(_shapes(call)), strides
