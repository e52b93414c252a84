"""Regularized evolution on NAS-Bench-201: the program's searches, repeated with the numbers that it drew.

The figures are of D-X-Y/AutoDL-Projects (``exps/NAS-Bench-201-algos/R_EA.py``); the README beside the files in
``plugins/evolution/tests/golden`` says what is in them. Data set, objective, population, sample and cycles may be any.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from golden_files import Check, FileError, differing, parsed

if TYPE_CHECKING:
    from nasreg.specs import Architecture
    from nasreg_evolution.regularized import RegularizedEvolution

TOLERANCE = 1e-9

_Key = Annotated[str, Field(pattern=r"^[0-4]{6}$")]
_Size = Annotated[int, Field(ge=1, le=10_000)]


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class Cycle(_Form):
    """A cycle: a tournament, a mutation, the death of the oldest."""

    sample_positions: list[int]
    parent_position: int
    parent: _Key
    edge: Annotated[int, Field(ge=0, le=5)]
    op_draws: Annotated[list[int], Field(min_length=1)]
    child: _Key
    child_val: float
    removed: _Key
    population_after: list[_Key]


class Trace(_Form):
    """A search."""

    dataset: Literal["cifar10", "cifar100", "imagenet"]
    objective: Literal["mean val", "floor(mean val)"]
    population: _Size
    sample: _Size
    cycles: _Size
    initial: list[_Key]
    initial_val: list[float]
    draws: list[tuple[int, int]]
    cycles_trace: list[Cycle]
    best_after_each_evaluation: list[tuple[_Key, float]]
    history: list[_Key]


class Traces(_Form):
    """``regularized_evolution_trace.json``."""

    traces: Annotated[list[Trace], Field(min_length=1)]


class RecordedDraws(random.Random):
    """A source of draws that were recorded: each is the size of the range that was drawn from, and the number."""

    def __init__(self, draws: Iterable[tuple[int, int]]) -> None:
        super().__init__(0)
        self._draws = iter(draws)

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        """Return the next draw.

        Raises:
            FileError: It was from another range.
        """
        recorded = next(self._draws, None)
        if stop is not None or step != 1 or recorded is None or recorded[0] != start:
            raise FileError(f"nasreg draws below {start} where the program has drawn {recorded}")
        return recorded[1]

    def choice(self, seq: Any) -> Any:
        """Return the element with the number of the next draw."""
        return seq[self.randrange(len(seq))]


def recognises(content: Any) -> bool:
    """Return whether a file is in this format."""
    traces = content.get("traces") if isinstance(content, dict) else None
    return isinstance(traces, list) and not any(isinstance(each, dict) and "theta0" in each for each in traces)


def checks(content: Any, path: Path) -> Iterator[Check]:
    """Compare nasreg with a file.

    Raises:
        FileError: Something in it is missing or malformed.
    """
    del path
    for number, trace in enumerate(parsed(Traces, content).traces):
        sizes = (len(trace.initial_val), len(trace.cycles_trace), len(trace.initial))
        if sizes != (trace.population, trace.cycles, trace.population):
            raise FileError(f"traces[{number}] has {sizes} values, cycles and keys for population and cycles")
        for check in _replay(trace):
            yield check._replace(name=f"traces[{number}].{check.name}")


def _replay(trace: Trace) -> Iterator[Check]:
    """Repeat a search."""
    from nasreg_nasbench201.strings import OPERATIONS, architecture_key

    values = _values(trace)
    mutator = _mutator(trace)
    drawn = iter(trace.draws)
    keys = ["".join(str(value) for _, value in islice(drawn, len(OPERATIONS) + 1)) for _ in range(trace.population)]
    yield Check("initial", differing(keys, trace.initial), 0)
    for key in trace.initial:
        _evaluate(mutator, _architecture(mutator, key), None, values[key])
    history = list(trace.initial)
    found: dict[str, list[Any]] = {name: [] for name in ("parent_position", "parent", "child", "removed", "population")}
    for cycle in trace.cycles_trace:
        members = [architecture_key(member.architecture) for member in mutator.population]
        mutator.rng = RecordedDraws(_draws(cycle, drawn, trace.sample))
        proposal = mutator.propose()
        position = next(n for n, member in enumerate(mutator.population) if member.id == proposal.parent)
        child = architecture_key(proposal.architecture)
        # a tie between two members is won by the first that was drawn, and one drawn twice has one position
        found["parent_position"].append(position)
        found["parent"].append(members[position])
        found["child"].append(child)
        _evaluate(mutator, proposal.architecture, proposal.parent, values[child])
        found["removed"].append(members[0])
        found["population"].append([architecture_key(member.architecture) for member in mutator.population])
        history.append(child)
    theirs = {
        "parent_position": [cycle.parent_position for cycle in trace.cycles_trace],
        "parent": [cycle.parent for cycle in trace.cycles_trace],
        "child": [cycle.child for cycle in trace.cycles_trace],
        "removed": [cycle.removed for cycle in trace.cycles_trace],
        "population": [cycle.population_after for cycle in trace.cycles_trace],
    }
    for name, ours in found.items():
        yield Check(name, differing(ours, theirs[name]), 0)
    yield Check("history", differing(history, trace.history), 0)
    yield Check("draws left", sum(1 for _ in drawn), 0)
    evaluated = [*trace.initial_val, *(cycle.child_val for cycle in trace.cycles_trace)]
    yield Check("val", _error([values[key] for key in history], evaluated), TOLERANCE)
    best = [max(history[: n + 1], key=values.__getitem__) for n in range(len(history))]
    yield Check("best_after_each_evaluation", differing(best, [key for key, _ in trace.best_after_each_evaluation]), 0)
    result = architecture_key(mutator.architecture())
    yield Check("result", int(result != trace.best_after_each_evaluation[-1][0]), 0)


def _draws(cycle: Cycle, drawn: Iterator[tuple[int, int]], sample: int) -> list[tuple[int, int]]:
    """Take the draws of a cycle: those of the tournament, a node, an edge of it, an operation.

    The program draws one of all operations until it is another one: that is a draw of one of the others.
    """
    draws = list(islice(drawn, sample + 2))
    operations = list(islice(drawn, len(cycle.op_draws)))
    size, number = operations[-1]
    return [*draws, (size - 1, number - (number > int(cycle.parent[cycle.edge])))]


def _values(trace: Trace) -> dict[str, float]:
    """Return the objective of each key."""
    from nasreg_nasbench201.table import find_table

    table = find_table({"imagenet": "imagenet16-120"}.get(trace.dataset, trace.dataset), 200, None)
    values = {key: 100 * value for key, value in zip(table.keys, table.columns["accuracy"].tolist(), strict=True)}
    # the sum of percentages is rounded where the file has a whole number
    whole = trace.objective != "mean val"
    return {key: float(math.floor(value + 1e-11)) for key, value in values.items()} if whole else values


def _mutator(trace: Trace) -> RegularizedEvolution:
    """Make the algorithm as its preset for this space does, with the population and the sample of a trace."""
    import nasreg
    from nasreg.config.lookup import find_space
    from nasreg.networks.references import describe_space
    from nasreg.registry import default_registry

    algorithm = nasreg.get_algorithm("regularized-evolution")
    options = {**algorithm.presets["nasbench201"].mutator, "population": trace.population, "sample": trace.sample}
    config = algorithm.mutator.load_config()(**options)
    space = describe_space(find_space(default_registry(), "nasbench201"), {})
    mutator: RegularizedEvolution = algorithm.mutator.load_factory()(space, config)
    mutator.start(0)
    return mutator


def _architecture(mutator: RegularizedEvolution, key: str) -> Architecture:
    from nasreg_nasbench201.strings import CELL, key_decision

    return mutator.space.architecture({CELL: key_decision(key)})


def _evaluate(mutator: RegularizedEvolution, architecture: Architecture, parent: int | None, value: float) -> None:
    """Let the algorithm observe a trial."""
    from nasreg.specs import Proposal, Score, Trial

    proposal = Proposal(mutator.n_proposed + 1, architecture, parent)
    mutator.add(proposal)
    mutator.record(Trial(proposal, "done", Score(value)))


def _error(ours: Sequence[float], theirs: Sequence[float]) -> float:
    pairs = list(zip(ours, theirs, strict=True))
    return max((abs(a - b) / max(abs(b), 1e-300) for a, b in pairs if a != b), default=0.0)
