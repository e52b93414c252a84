"""The description of a search space: every choice, its key, its candidates. Imports no torch.

A ``SearchSpaceSpec`` is extracted from a model (``nasreg.nn.extract_space``) and is all that a mutator sees of it.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, cast

from pydantic import Field, ValidationError, model_validator

from nasreg.errors import ArchitectureError, SpaceError
from nasreg.specs.architecture import Architecture, Decision
from nasreg.specs.base import CachingSpec
from nasreg.specs.cell import CellSpec
from nasreg.specs.choices import (
    NONE,
    SKIP,
    InputChoiceSpec,
    Key,
    LayerChoiceSpec,
    Reduction,
    RepeatSpec,
    ValueChoiceSpec,
)
from nasreg.specs.domains import Domain, Product, Step

__all__ = [
    "NONE",
    "SKIP",
    "AnyChoiceSpec",
    "CellSpec",
    "ChoiceSpec",
    "InputChoiceSpec",
    "LayerChoiceSpec",
    "Reduction",
    "RepeatSpec",
    "SearchSpaceSpec",
    "ValueChoiceSpec",
]

AnyChoiceSpec = LayerChoiceSpec | InputChoiceSpec | ValueChoiceSpec | RepeatSpec | CellSpec
ChoiceSpec = Annotated[AnyChoiceSpec, Field(discriminator="kind")]
"""``AnyChoiceSpec`` as a field of a spec: told apart by ``kind``."""


class SearchSpaceSpec(CachingSpec):
    """Every choice of a search space.

    Two models with equal decisions to take have equal fingerprints, whatever their depth and width: an architecture
    found with 8 cells is valid for the network of 20 cells.
    """

    format: Literal[1] = Field(default=1, description="version of this file format")
    choices: tuple[ChoiceSpec, ...] = Field(description="the choices, in the order in which the model defines them")
    groups: dict[str, tuple[Key, ...]] = Field(
        default_factory=dict, description="name of a scope -> keys of the choices in it; not part of the identity"
    )

    @model_validator(mode="after")
    def _unique_keys(self) -> SearchSpaceSpec:
        keys = [choice.key for choice in self.choices]
        if len(set(keys)) != len(keys):
            twice = sorted({key for key in keys if keys.count(key) > 1})
            raise ValueError(f"choices with one key must be one choice: {', '.join(twice)}")
        return self

    def __getitem__(self, key: str) -> AnyChoiceSpec:
        """Return the choice of that key.

        Raises:
            KeyError: There is none.
        """
        return self._by_key[key]

    @cached_property
    def _by_key(self) -> dict[str, AnyChoiceSpec]:
        return {choice.key: choice for choice in self.choices}

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the decisions to take: the same on every machine, in every process and for any depth or width."""
        identities = sorted((choice.identity() for choice in self.choices), key=lambda item: str(item["key"]))
        text = json.dumps(identities, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    @cached_property
    def _domain(self) -> Domain[Any]:
        return Product([choice.domain for choice in self.choices], [""] * len(self.choices))

    def size(self) -> int:
        """Return the number of architectures in the space."""
        return self._domain.size

    def architecture(self, decisions: Mapping[str, Decision]) -> Architecture:
        """Make an architecture of this space out of decisions, after checking them.

        Inputs and edges of a node keep their order, as that of a published genotype, also where it means nothing; see
        ``canonical``.

        Raises:
            ArchitectureError: A decision is missing, unknown or impossible.
        """
        try:
            architecture = Architecture(fingerprint=self.fingerprint, decisions=dict(decisions))
        except ValidationError as error:
            key = error.errors()[0]["loc"][1]
            raise ArchitectureError(f"{key!r}: {decisions[str(key)]!r} is no decision of any choice") from error
        self.validate(architecture)
        return architecture

    def _made(self, decisions: Sequence[Any]) -> Architecture:
        """Return the architecture of decisions that are known to be valid, in the order of choices."""
        by_key = dict(zip(self._by_key, decisions, strict=True))
        return Architecture.model_construct(format=1, fingerprint=self.fingerprint, decisions=by_key)

    def _decisions(self, architecture: Architecture) -> tuple[Any, ...]:
        """Return the decisions of an architecture in the order of choices, each in canonical order."""
        self.validate(architecture)
        return self._domain.canonical(tuple(architecture.decisions[key] for key in self._by_key))  # type: ignore[no-any-return]

    def validate(self, architecture: Architecture) -> None:  # type: ignore[override]  # pydantic's own is deprecated
        """Check that an architecture belongs to this space.

        Raises:
            ArchitectureError: It does not; the message names the keys that differ.
        """
        keys = [choice.key for choice in self.choices]
        problems = [f"{key!r} is missing" for key in keys if key not in architecture.decisions]
        problems += [f"{key!r} is no choice of the space" for key in architecture.decisions if key not in keys]
        for choice in self.choices:
            if choice.key in architecture.decisions:
                problem = choice.problem(architecture.decisions[choice.key])
                if problem:
                    problems.append(f"{choice.key!r}: {problem}")
        if not problems and architecture.fingerprint != self.fingerprint:
            problems = [
                f"its decisions would fit, but it was made for fingerprint {architecture.fingerprint} and this space"
                f" has {self.fingerprint} (other candidates or limits on {', '.join(map(repr, keys))})"
            ]
        if problems:
            raise ArchitectureError(f"the architecture does not belong to this search space: {'; '.join(problems)}")

    def choices_in_effect(self, architecture: Architecture) -> tuple[AnyChoiceSpec, ...]:
        """Return the choices whose decisions change the network: not those inside blocks beyond the depth of a repeat.

        Raises:
            ArchitectureError: It does not belong to this space.
        """
        self.validate(architecture)
        unused: list[str] = []
        for choice in self.choices:
            if isinstance(choice, RepeatSpec):
                depth = cast("int", architecture.decisions[choice.key])
                blocks = range(depth, choice.depths[-1])
                heads = [number for number, each in enumerate(choice.depths) if each != depth]
                for path in choice.paths:
                    unused += [f"{path}.blocks.{number}." for number in blocks]
                    unused += [f"{path}.heads.{number}." for number in heads]
        without = tuple(unused)
        if not without:
            return self.choices
        return tuple(
            choice
            for choice in self.choices
            if not choice.paths or not all(f"{path}.".startswith(without) for path in choice.paths)
        )

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return an equivalent architecture with inputs and edges in ascending order, where their order means nothing.

        Architectures that come of ``sample``, ``mutate`` and the other operations are in this order. Two architectures
        are the same if their canonical forms are equal.

        Raises:
            ArchitectureError: It does not belong to this space.
        """
        return self._made(self._decisions(architecture))

    def sample(self, rng: random.Random) -> Architecture:
        """Draw an architecture uniformly."""
        return self._made(self._domain.sample(rng))

    def mutate(self, architecture: Architecture, rng: random.Random, *, by_part: bool = False) -> Architecture:
        """Draw one of the ``neighbours`` of an architecture, never the architecture itself.

        First one of the elementary decisions that can change is drawn uniformly, whatever the choice that it belongs
        to, then one of its changes uniformly. With ``by_part`` a choice is drawn first, in a cell then a node and a
        slot, and only then an elementary decision of it, as in regularized evolution (Real et al., arXiv 1802.01548)
        and in the programs of NAS-Bench-201: a decision of a node with few edges is changed more often.

        An elementary decision is

        - the candidate of a layer choice, the value of a value choice, the depth of a repeat;
        - each input of an input choice of any number: it is added or taken away;
        - each chosen input of an input choice of a fixed number: another one takes its place;
        - the operation of each kept edge of a cell;
        - the source of each kept edge: another state that the node does not read yet, or with ``repeat_sources`` any
          other state. The operation stays where the new edge can have it; else the change draws one that it can have.

        Raises:
            ArchitectureError: It does not belong to this space, or it is the only architecture of the space.
        """
        decisions = self._decisions(architecture)
        return self._made(self._domain.mutate_part(decisions, rng) if by_part else self._domain.mutate(decisions, rng))

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """Yield every architecture that ``mutate`` can return, once.

        If one architecture is a neighbour of another, so is the other of the one, except where edges of a node of a
        cell have different candidates: a source that changes the operation need not give it back.

        Raises:
            ArchitectureError: It does not belong to this space.
        """
        return map(self._made, self._domain.neighbours(self._decisions(architecture)))

    def crossover(self, one: Architecture, other: Architecture, rng: random.Random) -> Architecture:
        """Draw a child: the decision of each choice, in a cell those of each node, are of either parent (uniformly).

        Raises:
            ArchitectureError: A parent does not belong to this space.
        """
        return self._made(self._domain.crossover(self._decisions(one), self._decisions(other), rng))

    @property
    def encoding_size(self) -> int:
        """The length of an encoding."""
        return self._domain.encoding_size

    def encode(self, architecture: Architecture) -> tuple[float, ...]:
        """Return zeros and ones that no other architecture of the space has, for a predictor to learn from.

        Choice by choice: one number for each candidate, value or depth, 1 for the one chosen; one for each input, 1
        where chosen; for each edge of a cell one for each of the operations that can be chosen on it, 1 for that of a
        kept edge, so that an edge that is not kept has zeros only.

        Raises:
            ArchitectureError: It does not belong to this space.
        """
        return tuple(self._domain.encode(self._decisions(architecture)))

    def distance(self, one: Architecture, other: Architecture) -> int:
        """Return the number of elementary decisions in which two architectures differ, a metric.

        It is a sum over choices: 1 for another candidate, value or depth; with any number of inputs the inputs that
        only one of them chooses; with a fixed number the inputs that only the first chooses. The edges of a node of a
        cell count 1 for another source and 1 for another operation; with slots each slot is compared with itself, else
        edges are paired so that the sum is smallest. Neighbours have distance 1, or 2 where the change of a source
        changed the operation.

        Raises:
            ArchitectureError: One does not belong to this space.
        """
        return self._domain.distance(self._decisions(one), self._decisions(other))

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The steps in which a controller decides an architecture, such as that of NASNet (arXiv 1707.07012).

        They follow the choices, and in a cell the nodes: the sources of a node, then its operations. An input choice of
        any number has a step for each input; one of a fixed number a step for each that it chooses, in ascending order.
        """
        return tuple(step for choice in self.choices for step in choice.steps)

    @property
    def n_decisions(self) -> int:
        """The number of elementary decisions of an architecture, as many as ``steps``."""
        return len(self.steps)

    def allowed(self, indices: Sequence[int]) -> tuple[int, ...]:
        """Return the indices of the options that are possible at the next step, given those of the steps before.

        There is always one, and any of them leads to a valid architecture.

        Args:
            indices: For each step so far the index of the option taken. They should be allowed themselves; only those
                of the choice or node that the next step belongs to are checked.

        Raises:
            ArchitectureError: There is no next step, or an earlier index is not allowed.
        """
        step = len(indices)
        if step >= len(self.steps):
            raise ArchitectureError(
                f"{step} indices are given already, and the search space has {len(self.steps)} steps"
            )
        try:
            return self._domain.allowed(indices)
        except ArchitectureError as error:
            raise ArchitectureError(f"{self._place(step)} cannot follow: {error}") from error

    def architecture_of(self, indices: Sequence[int]) -> Architecture:
        """Return the architecture that the options taken at all steps make; ``indices_of`` is the inverse.

        Raises:
            ArchitectureError: There is not one index for each step, or one is not allowed after those before it.
        """
        if len(indices) != len(self.steps):
            raise ArchitectureError(
                f"the search space has {len(self.steps)} steps, but {len(indices)} indices are given"
            )
        for step, index in enumerate(indices):
            possible = self._domain.next_indices(indices[:step])
            if index not in possible:
                raise ArchitectureError(
                    f"{self._place(step)}: index {index} is not one of {', '.join(map(str, possible))}"
                )
        return self._made(self._domain.decision_of(indices))

    def indices_of(self, architecture: Architecture) -> tuple[int, ...]:
        """Return the index of the option that an architecture takes at each step.

        Raises:
            ArchitectureError: It does not belong to this space.
        """
        return tuple(self._domain.indices_of(self._decisions(architecture)))

    def _place(self, step: int) -> str:
        return f"step {step} ({self.steps[step].name} of {self.steps[step].key!r})"

    def to_json(self) -> str:
        """Return the JSON text."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str = "search space") -> SearchSpaceSpec:
        """Read what ``to_json`` writes.

        Raises:
            SpaceError: The text is not the JSON of a search space.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise SpaceError(f"{source} is not a search space: {place}: {first['msg']}") from error
