"""The domains of which some elements are taken: inputs, and the incoming edges of a node. Imports no torch."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any, Literal, TypeVar

from nasreg.specs.domains import Domain, Product, Step, one_hot

D = TypeVar("D")


class Subset(Domain[tuple[D, ...]]):
    """A fixed number of different elements, with one of the labels that are possible on each: edges into a node.

    The elementary decisions are the elements taken, in ascending order, then the labels on them.

    Args:
        items: For each element what stands in a decision for it, with each of its labels; elements with none are never
            taken.
        labels: For each element its labels.
        kept: How many elements are taken.
        names: Name of each element.
        kind: Kind of the steps that take an element.
        first: Number of the first step in names.
    """

    def __init__(
        self,
        items: Sequence[Sequence[D]],
        labels: Sequence[Sequence[str]],
        kept: int,
        names: Sequence[str],
        kind: Literal["source", "input"],
        first: int = 0,
    ) -> None:
        self.kept = kept
        self._kind: Literal["source", "input"] = kind
        self._first = first
        self._labels = labels
        self._items = items
        self._names = names
        self._place = {
            item: (element, label)
            for element, row in enumerate(items)
            for item, label in zip(row, labels[element], strict=True)
        }
        self._item = {place: item for item, place in self._place.items()}
        self._code = {item: number for number, item in enumerate(self._place)}
        self._usable = [element for element, row in enumerate(items) if row]
        self._usable_index = {element: number for number, element in enumerate(self._usable)}
        # Row u counts the ways to take 0, 1, ... kept elements from the usable ones from number u on.
        self._ways = [[1] + [0] * kept]
        for element in reversed(self._usable):
            after = self._ways[0]
            taken = (ways * len(items[element]) for ways in after)
            self._ways.insert(0, [1, *(some + more for some, more in zip(after[1:], taken, strict=False))])
        self.size = self._ways[0][kept]
        self.encoding_size = len(self._place)
        self._spare = len(self._usable) - kept
        # The labels that are possible at each step that sets one, whichever element was taken.
        self._vocabulary = [
            list(dict.fromkeys(chain.from_iterable(labels[element] for element in self._takeable(step))))
            for step in range(kept)
        ]

    def _takeable(self, step: int) -> list[int]:
        """Return the elements that can be the one taken at ``step``, in ascending order."""
        return self._usable[step : step + self._spare + 1]

    def at(self, rank: int) -> tuple[D, ...]:
        left, taken = self.kept, []
        for number, element in enumerate(self._usable):
            if not left:
                break
            ways, items = self._ways[number + 1][left - 1], self._items[element]
            if rank < ways * len(items):
                label, rank = divmod(rank, ways)
                taken.append(items[label])
                left -= 1
            else:
                rank -= ways * len(items)
        return tuple(taken)

    def canonical(self, decision: tuple[D, ...]) -> tuple[D, ...]:
        return tuple(sorted(decision, key=self._place.__getitem__)) if len(decision) > 1 else decision

    def steps(self, key: str, prefix: str = "") -> tuple[Step, ...]:
        elements = [
            Step(
                key,
                self._kind,
                f"{prefix}{self._kind} {self._first + step}",
                tuple(self._names[element] for element in self._takeable(step)),
            )
            for step in range(self.kept)
        ]
        labels = [
            Step(key, "operation", f"{prefix}operation {self._first + step}", tuple(names))
            for step, names in enumerate(self._vocabulary)
        ]
        return (*elements, *labels) if self._kind == "source" else tuple(elements)

    def n_changes(self, decision: tuple[D, ...]) -> int:
        relabelled = sum(len(self._items[self._place[item][0]]) > 1 for item in decision)
        return relabelled + (self.kept if self._spare else 0)

    def changes(self, decision: tuple[D, ...], number: int) -> Sequence[tuple[D, ...]]:
        if self._spare and number < self.kept:
            changed = decision[number]
            taken = {self._place[item][0] for item in decision}
            label = self._place[changed][1]
            others = [item for element in self._usable if element not in taken for item in self._moved(element, label)]
        else:
            number -= self.kept if self._spare else 0
            changed = [item for item in decision if len(self._items[self._place[item][0]]) > 1][number]
            others = [item for item in self._items[self._place[changed][0]] if item != changed]
        rest = [item for item in decision if item != changed]
        return [self.canonical((*rest, item)) for item in others]

    def _moved(self, element: int, label: str) -> Sequence[D]:
        """Return what can take the place of an element with a label: the same label where it is possible, else any."""
        place = element, label
        return (self._item[place],) if place in self._item else self._items[element]

    def encode(self, decision: tuple[D, ...]) -> list[float]:
        return one_hot([self._code[item] for item in decision], self.encoding_size)

    def distance(self, one: tuple[D, ...], other: tuple[D, ...]) -> int:
        """Return the cost of the cheapest pairing: 1 for a pair with another element, 1 for one with another label.

        It is a metric, as the cost of a pair is.
        """
        left = [self._place[item] for item in one if item not in other]
        right = [self._place[item] for item in other if item not in one]
        partners = [[b for b, end in enumerate(right) if end[0] == start[0] or end[1] == start[1]] for start in left]
        return 2 * len(left) - _largest_matching(partners)

    def next_indices(self, indices: Sequence[int]) -> Sequence[int]:
        step = len(indices)
        if (
            step < self.kept
        ):  # index i of step s is usable element i + s: ascending elements have indices that never fall
            return range(indices[-1] if indices else 0, self._spare + 1)
        step -= self.kept
        names = self._vocabulary[step]
        return [names.index(label) for label in self._labels[self._usable[indices[step] + step]]]

    def decision_of(self, indices: Sequence[int]) -> tuple[D, ...]:
        elements = [self._usable[indices[step] + step] for step in range(self.kept)]
        if self._kind == "input":
            return tuple(self._items[element][0] for element in elements)
        return tuple(
            self._item[element, self._vocabulary[step][indices[self.kept + step]]]
            for step, element in enumerate(elements)
        )

    def indices_of(self, decision: tuple[D, ...]) -> list[int]:
        places = [self._place[item] for item in self.canonical(decision)]
        elements = [self._usable_index[element] - step for step, (element, _) in enumerate(places)]
        if self._kind == "input":
            return elements
        return elements + [self._vocabulary[step].index(label) for step, (_, label) in enumerate(places)]


class AnySubset(Domain[tuple[str, ...]]):
    """Any number of elements; each of them is an elementary decision.

    Args:
        names: The elements.
        min_chosen: The smallest number, 0 or 1.
    """

    def __init__(self, names: tuple[str, ...], min_chosen: int) -> None:
        self.size = 2 ** len(names) - min_chosen
        self.encoding_size = len(names)
        self._names = names
        self._min_chosen = min_chosen
        # A lone element of which one has to be chosen leaves nothing to decide.
        self._options = ("yes",) if len(names) == min_chosen else ("no", "yes")

    def at(self, rank: int) -> tuple[str, ...]:
        bits = rank + self._min_chosen
        return tuple(name for number, name in enumerate(self._names) if bits >> number & 1)

    def canonical(self, decision: tuple[str, ...]) -> tuple[str, ...]:
        return self._ordered(decision)

    def _ordered(self, chosen: Collection[str]) -> tuple[str, ...]:
        return tuple(name for name in self._names if name in chosen)

    def steps(self, key: str, prefix: str = "") -> tuple[Step, ...]:
        return tuple(Step(key, "input", f"{prefix}input {name}", self._options) for name in self._names)

    def _changeable(self, decision: tuple[str, ...]) -> list[str]:
        return [name for name in self._names if name not in decision or len(decision) > self._min_chosen]

    def n_changes(self, decision: tuple[str, ...]) -> int:
        return len(self._changeable(decision))

    def changes(self, decision: tuple[str, ...], number: int) -> Sequence[tuple[str, ...]]:
        return [self._ordered(set(decision) ^ {self._changeable(decision)[number]})]

    def encode(self, decision: tuple[str, ...]) -> list[float]:
        return [float(name in decision) for name in self._names]

    def distance(self, one: tuple[str, ...], other: tuple[str, ...]) -> int:
        return len(set(one) ^ set(other))

    def next_indices(self, indices: Sequence[int]) -> Sequence[int]:
        is_last_chance = self._min_chosen and len(indices) == len(self._names) - 1 and not any(indices)
        return range(len(self._options))[-1:] if is_last_chance else range(len(self._options))

    def decision_of(self, indices: Sequence[int]) -> tuple[str, ...]:
        return tuple(name for name, index in zip(self._names, indices, strict=True) if self._options[index] == "yes")

    def indices_of(self, decision: tuple[str, ...]) -> list[int]:
        return [self._options.index("yes" if name in decision else "no") for name in self._names]


class Concatenation(Product):
    """Subsets whose items stand in a decision one after the other: the slots of a node.

    The elements of all of them are taken before the labels. A crossover takes all from one parent.
    """

    def __init__(self, parts: Sequence[Subset[Any]]) -> None:
        self._bounds = list(accumulate((part.kept for part in parts), initial=0))
        super().__init__(parts, [""] * len(parts))

    def _step_order(self, counts: Sequence[int]) -> list[int]:
        kept = [count // 2 for count in counts]
        return super()._step_order(kept) * 2

    def _split(self, decision: tuple[Any, ...]) -> Sequence[Any]:
        return [decision[start:end] for start, end in pairwise(self._bounds)]

    def _join(self, decisions: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(chain.from_iterable(decisions))

    def crossover(self, one: tuple[Any, ...], other: tuple[Any, ...], rng: random.Random) -> tuple[Any, ...]:
        return Domain.crossover(self, one, other, rng)


def _largest_matching(partners: Sequence[Sequence[int]]) -> int:
    """Return how many can be paired, each with one of its partners that no other has (augmenting paths)."""
    owner: dict[int, int] = {}

    def assign(start: int, tried: set[int]) -> bool:
        for partner in partners[start]:
            if partner not in tried:
                tried.add(partner)
                if partner not in owner or assign(owner[partner], tried):
                    owner[partner] = start
                    return True
        return False

    return sum(assign(start, set()) for start in range(len(partners)))
