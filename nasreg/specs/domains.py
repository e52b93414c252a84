"""The sets of decisions that choices draw from, and what a search does with them. Imports no torch.

It draws, changes, crosses, compares and encodes decisions, and takes them step by step. Every choice has a ``Domain``,
and a search space has the product of them; so each operation is written once for each form: one of some options
(``OneOf``), some of several elements (``nasreg.specs.subsets``), and independent parts (``Product``). All of them take
valid decisions for granted.
"""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from nasreg.errors import ArchitectureError

D = TypeVar("D")

StepKind = Literal["operation", "source", "layer", "input", "value", "depth"]


class Step(NamedTuple):
    """One of the steps in which a controller decides an architecture."""

    key: str
    """Key of the choice."""
    kind: StepKind
    """What is decided."""
    name: str
    """What is decided within the choice, for people: ``node 2, source 1``."""
    options: tuple[str, ...]
    """All options that the step can have, whatever was decided before; see ``SearchSpaceSpec.allowed``."""


class Domain(ABC, Generic[D]):
    """A finite set of decisions."""

    size: int
    """The number of decisions."""
    encoding_size: int
    """The length of an encoding."""

    @abstractmethod
    def at(self, rank: int) -> D:
        """Return decision number ``rank`` of ``size``."""

    @abstractmethod
    def steps(self, key: str, prefix: str = "") -> tuple[Step, ...]:
        """Return the steps, for the choice of that key, with ``prefix`` before their names."""

    @abstractmethod
    def n_changes(self, decision: D) -> int:
        """Return how many elementary decisions can change."""

    @abstractmethod
    def changes(self, decision: D, number: int) -> Sequence[D]:
        """Return what a change of elementary decision ``number`` of ``n_changes`` can give."""

    @abstractmethod
    def encode(self, decision: D) -> list[float]:
        """Return the encoding."""

    @abstractmethod
    def distance(self, one: D, other: D) -> int:
        """Return the number of elementary decisions that differ; it is a metric."""

    @abstractmethod
    def next_indices(self, indices: Sequence[int]) -> Sequence[int]:
        """Return the indices that are possible at step ``len(indices)`` after valid earlier ones."""

    @abstractmethod
    def decision_of(self, indices: Sequence[int]) -> D:
        """Return the decision that an index for each step makes."""

    @abstractmethod
    def indices_of(self, decision: D) -> list[int]:
        """Return the index for each step that makes a decision."""

    def canonical(self, decision: D) -> D:
        """Return a decision in the one order in which ``at`` gives it."""
        return decision

    def sample(self, rng: random.Random) -> D:
        """Draw a decision uniformly."""
        return self.at(rng.randrange(self.size))

    def mutate(self, decision: D, rng: random.Random) -> D:
        """Draw an elementary decision that can change uniformly, then its change.

        Raises:
            ArchitectureError: There is only one decision.
        """
        n = self.n_changes(decision)
        if not n:
            raise ArchitectureError("nothing can be changed, since there is only one possibility")
        return rng.choice(self.changes(decision, rng.randrange(n)))

    def mutate_part(self, decision: D, rng: random.Random) -> D:
        """Draw a part that can change uniformly, then within it; as ``mutate`` where there are no parts.

        Raises:
            ArchitectureError: There is only one decision.
        """
        return self.mutate(decision, rng)

    def neighbours(self, decision: D) -> Iterator[D]:
        """Yield every decision that one elementary change gives."""
        for number in range(self.n_changes(decision)):
            yield from self.changes(decision, number)

    def crossover(self, one: D, other: D, rng: random.Random) -> D:
        """Draw one of two decisions."""
        return one if rng.random() < 0.5 else other

    def allowed(self, indices: Sequence[int]) -> tuple[int, ...]:
        """Return the indices that are possible at step ``len(indices)``.

        Raises:
            ArchitectureError: An earlier one is not.
        """
        for step, index in enumerate(indices):
            possible = self.next_indices(indices[:step])
            if index not in possible:
                name = self.steps("")[step].name
                raise ArchitectureError(f"{name}: index {index} is not one of {', '.join(map(str, possible))}")
        return tuple(self.next_indices(indices))


class OneOf(Domain[D]):
    """Exactly one of some options.

    Args:
        options: The options.
        names: Their names.
        kind: Kind and name of the step.
    """

    def __init__(self, options: Sequence[D], names: tuple[str, ...], kind: StepKind) -> None:
        self.size = self.encoding_size = len(options)
        self._options = options
        self._names = names
        self._kind = kind
        self._index = {option: number for number, option in enumerate(options)}

    def at(self, rank: int) -> D:
        return self._options[rank]

    def steps(self, key: str, prefix: str = "") -> tuple[Step, ...]:
        return (Step(key, self._kind, prefix + self._kind, self._names),)

    def n_changes(self, decision: D) -> int:
        del decision
        return int(self.size > 1)

    def changes(self, decision: D, number: int) -> Sequence[D]:
        del number
        return [option for option in self._options if option != decision]

    def encode(self, decision: D) -> list[float]:
        return one_hot([self._index[decision]], self.size)

    def distance(self, one: D, other: D) -> int:
        return int(one != other)

    def next_indices(self, indices: Sequence[int]) -> Sequence[int]:
        del indices
        return range(self.size)

    def decision_of(self, indices: Sequence[int]) -> D:
        return self._options[indices[0]]

    def indices_of(self, decision: D) -> list[int]:
        return [self._index[decision]]


class Product(Domain[tuple[Any, ...]]):
    """Independent parts; a decision has one decision for each of them.

    Args:
        parts: The parts.
        prefixes: What stands before the names of the steps of each part.
    """

    def __init__(self, parts: Sequence[Domain[Any]], prefixes: Sequence[str]) -> None:
        self.size = math.prod(part.size for part in parts)
        self.encoding_size = sum(part.encoding_size for part in parts)
        self._parts = parts
        self._steps = [part.steps("", prefix) for part, prefix in zip(parts, prefixes, strict=True)]
        self._order = self._step_order([len(steps) for steps in self._steps])
        self._places: list[list[int]] = [[] for _ in parts]
        for place, part in enumerate(self._order):
            self._places[part].append(place)

    def _step_order(self, counts: Sequence[int]) -> list[int]:
        """Return the part that each step belongs to, given the number of steps of each part."""
        return [part for part, count in enumerate(counts) for _ in range(count)]

    def _split(self, decision: tuple[Any, ...]) -> Sequence[Any]:
        return decision

    def _join(self, decisions: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(decisions)

    def at(self, rank: int) -> tuple[Any, ...]:
        decisions = []
        for part in self._parts:
            rank, own = divmod(rank, part.size)
            decisions.append(part.at(own))
        return self._join(decisions)

    def sample(self, rng: random.Random) -> tuple[Any, ...]:
        return self._join([part.sample(rng) for part in self._parts])

    def canonical(self, decision: tuple[Any, ...]) -> tuple[Any, ...]:
        return self._join([part.canonical(own) for part, own in zip(self._parts, self._split(decision), strict=True)])

    def steps(self, key: str, prefix: str = "") -> tuple[Step, ...]:
        left = [iter(steps) for steps in self._steps]
        found = (next(left[part]) for part in self._order)
        return tuple(step._replace(key=key, name=prefix + step.name) for step in found)

    def n_changes(self, decision: tuple[Any, ...]) -> int:
        return sum(part.n_changes(own) for part, own in zip(self._parts, self._split(decision), strict=True))

    def changes(self, decision: tuple[Any, ...], number: int) -> Sequence[tuple[Any, ...]]:
        decisions = list(self._split(decision))
        for place, part in enumerate(self._parts):
            n = part.n_changes(decisions[place])
            if number < n:
                before, after = decisions[:place], decisions[place + 1 :]
                changed = part.changes(decisions[place], number)
                return [self._join([*before, own, *after]) for own in changed]
            number -= n
        raise IndexError(number)

    def mutate_part(self, decision: tuple[Any, ...], rng: random.Random) -> tuple[Any, ...]:
        decisions = list(self._split(decision))
        places = [place for place, part in enumerate(self._parts) if part.n_changes(decisions[place])]
        if not places:
            return self.mutate(decision, rng)  # which says that nothing can be changed
        place = places[rng.randrange(len(places))] if len(places) > 1 else places[0]
        decisions[place] = self._parts[place].mutate_part(decisions[place], rng)
        return self._join(decisions)

    def crossover(self, one: tuple[Any, ...], other: tuple[Any, ...], rng: random.Random) -> tuple[Any, ...]:
        return tuple(part.crossover(a, b, rng) for part, a, b in zip(self._parts, one, other, strict=True))

    def encode(self, decision: tuple[Any, ...]) -> list[float]:
        rows = (part.encode(own) for part, own in zip(self._parts, self._split(decision), strict=True))
        return list(chain.from_iterable(rows))

    def distance(self, one: tuple[Any, ...], other: tuple[Any, ...]) -> int:
        pairs = zip(self._parts, self._split(one), self._split(other), strict=True)
        return sum(part.distance(a, b) for part, a, b in pairs)

    def _next(self, indices: Sequence[int]) -> tuple[Domain[Any], list[int]]:
        """Return the part that step ``len(indices)`` belongs to, and its own earlier indices."""
        part = self._order[len(indices)]
        return self._parts[part], [indices[place] for place in self._places[part] if place < len(indices)]

    def next_indices(self, indices: Sequence[int]) -> Sequence[int]:
        part, own = self._next(indices)
        return part.next_indices(own)

    def allowed(self, indices: Sequence[int]) -> tuple[int, ...]:
        """Return the indices that are possible at step ``len(indices)``, after checking the earlier ones of its part.

        Raises:
            ArchitectureError: One of these is not possible.
        """
        part, own = self._next(indices)
        return part.allowed(own)

    def decision_of(self, indices: Sequence[int]) -> tuple[Any, ...]:
        rows = ([indices[place] for place in places] for places in self._places)
        return self._join([part.decision_of(row) for part, row in zip(self._parts, rows, strict=True)])

    def indices_of(self, decision: tuple[Any, ...]) -> list[int]:
        rows = [iter(part.indices_of(own)) for part, own in zip(self._parts, self._split(decision), strict=True)]
        return [next(rows[part]) for part in self._order]


def one_hot(places: Sequence[int], size: int) -> list[float]:
    """Return a row of zeros with ones at some places."""
    row = [0.0] * size
    for place in places:
        row[place] = 1.0
    return row
