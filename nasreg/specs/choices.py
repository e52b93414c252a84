"""The choices of which one option is taken, or some of several inputs. Imports no torch."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, Literal, cast

from pydantic import Field, StrictFloat, StrictInt, StringConstraints, model_validator

from nasreg.specs.architecture import Decision
from nasreg.specs.base import CachingSpec
from nasreg.specs.domains import Domain, OneOf, Step
from nasreg.specs.subsets import AnySubset, Subset

NONE = "none"
"""The candidate of a cell that cuts the edge. It takes part in a relaxation; only some cells let it be chosen."""

SKIP = "skip_connect"
"""The candidate of a cell that passes its input on; reports count it, since searches collapse into it."""

Key = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_./-]+$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Reduction = Literal["sum", "mean", "concat", "none"]


class ChoiceSpecBase(CachingSpec, ABC):
    """Base of all choices. Each method takes and returns decisions that are valid: see ``problem``."""

    key: Key = Field(description="name of the decision; choices with the same key share it")
    paths: tuple[str, ...] = Field(
        default=(), description="modules that ask for this decision; not part of the identity"
    )

    @property
    @abstractmethod
    def primitive(self) -> str:
        """The kind of choice, as ``AlgorithmSpec.primitives`` names it."""

    @property
    @abstractmethod
    def domain(self) -> Domain[Any]:
        """The set of the possible decisions."""

    @property
    @abstractmethod
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The names that records of weights have a number for: a row for each edge of a cell, else one row."""

    @abstractmethod
    def problem(self, decision: Decision) -> str | None:
        """Return why a decision is invalid, or None."""

    def identity(self) -> dict[str, object]:
        """Return the part that the fingerprint covers: everything except the place of the choice in the model."""
        return self.model_dump(mode="json", exclude={"paths"})

    def size(self) -> int:
        """Return the number of possible decisions."""
        return self.domain.size

    def sample(self, rng: random.Random) -> Decision:
        """Draw a decision uniformly."""
        return cast("Decision", self.domain.sample(rng))

    def canonical(self, decision: Decision) -> Decision:
        """Return a decision with inputs, or edges of a node, in ascending order where their order means nothing."""
        return cast("Decision", self.domain.canonical(decision))

    def mutate(self, decision: Decision, rng: random.Random) -> Decision:
        """Draw a neighbour: first, uniformly, the elementary decision that changes. See ``SearchSpaceSpec.mutate``.

        Raises:
            ArchitectureError: There is only one decision.
        """
        return cast("Decision", self.domain.mutate(self.canonical(decision), rng))

    def neighbours(self, decision: Decision) -> Iterator[Decision]:
        """Yield every decision that one elementary change gives. See ``SearchSpaceSpec.neighbours``."""
        return self.domain.neighbours(self.canonical(decision))

    def crossover(self, one: Decision, other: Decision, rng: random.Random) -> Decision:
        """Draw one of two decisions; in a cell for each node."""
        return cast("Decision", self.domain.crossover(self.canonical(one), self.canonical(other), rng))

    @property
    def encoding_size(self) -> int:
        """The length of an encoding."""
        return self.domain.encoding_size

    def encode(self, decision: Decision) -> tuple[float, ...]:
        """Return the encoding of a decision. See ``SearchSpaceSpec.encode``."""
        return tuple(self.domain.encode(decision))

    def distance(self, one: Decision, other: Decision) -> int:
        """Return the number of elementary decisions that differ. See ``SearchSpaceSpec.distance``."""
        return self.domain.distance(one, other)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The steps in which a controller takes the decision."""
        return self.domain.steps(self.key)


class LayerChoiceSpec(ChoiceSpecBase):
    """Exactly one of the candidate modules."""

    kind: Literal["layer"] = "layer"
    candidates: tuple[Name, ...] = Field(min_length=1, description="names of the candidate modules")

    @model_validator(mode="after")
    def _unique(self) -> LayerChoiceSpec:
        check_unique(self.key, self.candidates)
        return self

    @property
    def primitive(self) -> str:
        """The kind of choice, as ``AlgorithmSpec.primitives`` names it."""
        return "layer"

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The names of the candidates."""
        return (self.candidates,)

    @cached_property
    def domain(self) -> Domain[Any]:
        """The set of the possible decisions."""
        return OneOf(self.candidates, self.candidates, "layer")

    def problem(self, decision: Decision) -> str | None:
        """Return why a decision is invalid, or None."""
        if isinstance(decision, str) and decision in self.candidates:
            return None
        return f"{decision!r} is not one of {', '.join(self.candidates)}"


class InputChoiceSpec(ChoiceSpecBase):
    """Some of the inputs: exactly ``n_chosen`` of them, or any number where that is None."""

    kind: Literal["input"] = "input"
    candidates: tuple[Name, ...] = Field(min_length=1, description="names of the inputs")
    n_chosen: int | None = Field(default=1, ge=1, description="how many are chosen; null for any number")
    reduction: Reduction = Field(default="sum", description="how the chosen inputs are joined")

    @model_validator(mode="after")
    def _consistent(self) -> InputChoiceSpec:
        check_unique(self.key, self.candidates)
        if self.n_chosen is not None and self.n_chosen > len(self.candidates):
            raise ValueError(f"choice {self.key!r} chooses {self.n_chosen} of only {len(self.candidates)} inputs")
        return self

    @property
    def primitive(self) -> str:
        """The kind of choice, as ``AlgorithmSpec.primitives`` names it: ``input/`` and the reduction."""
        return f"input/{self.reduction}"

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The names of the inputs."""
        return (self.candidates,)

    @property
    def min_chosen(self) -> int:
        """The smallest number of chosen inputs; there is no concatenation of nothing."""
        return self.n_chosen if self.n_chosen is not None else int(self.reduction == "concat")

    @cached_property
    def domain(self) -> Domain[Any]:
        """The set of the possible decisions."""
        if self.n_chosen is None:
            return AnySubset(self.candidates, self.min_chosen)
        items = [(name,) for name in self.candidates]
        return Subset(items, [("",)] * len(items), self.n_chosen, self.candidates, "input")

    def problem(self, decision: Decision) -> str | None:
        """Return why a decision is invalid, or None."""
        if not isinstance(decision, tuple) or not all(isinstance(name, str) for name in decision):
            return f"{decision!r} is not a list of input names"
        if unknown := [name for name in decision if name not in self.candidates]:
            return f"{unknown[0]!r} is not one of {', '.join(self.candidates)}"
        if len(set(decision)) != len(decision):
            return f"{list(decision)!r} names an input twice"
        if self.n_chosen is not None and len(decision) != self.n_chosen:
            return f"{self.n_chosen} inputs must be chosen, not {len(decision)}"
        if len(decision) < self.min_chosen:
            return "at least one input must be chosen, since they are concatenated"
        return None


class ValueChoiceSpec(ChoiceSpecBase):
    """Exactly one of some values, such as a width, a rate or the name of an activation.

    A value keeps its type: 1, 1.0 and "1" are different decisions, and True is none.
    """

    kind: Literal["value"] = "value"
    values: tuple[StrictInt | StrictFloat | Name, ...] = Field(min_length=1, description="the values, in their order")

    @model_validator(mode="after")
    def _unique(self) -> ValueChoiceSpec:
        check_unique(self.key, self.names)
        if len(set(self.values)) != len(self.values):
            raise ValueError(f"choice {self.key!r} has two equal values: {', '.join(self.names)}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The values as text."""
        return tuple(map(str, self.values))

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The values as text."""
        return (self.names,)

    @property
    def primitive(self) -> str:
        """The kind of choice, as ``AlgorithmSpec.primitives`` names it."""
        return "value"

    @cached_property
    def domain(self) -> Domain[Any]:
        """The set of the possible decisions."""
        return OneOf(self.values, self.names, "value")

    def problem(self, decision: Decision) -> str | None:
        """Return why a decision is invalid, or None."""
        if any(type(decision) is type(value) and decision == value for value in self.values):
            return None
        return f"{decision!r} is not one of {', '.join(map(repr, self.values))}"


class RepeatSpec(ChoiceSpecBase):
    """The number of blocks of a stack that are computed, from the first on."""

    kind: Literal["repeat"] = "repeat"
    depths: tuple[Annotated[StrictInt, Field(ge=0)], ...] = Field(
        min_length=1, description="the possible numbers of blocks, increasing"
    )

    @model_validator(mode="after")
    def _increasing(self) -> RepeatSpec:
        if list(self.depths) != sorted(set(self.depths)):
            raise ValueError(f"choice {self.key!r}: depths {list(self.depths)} must increase")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The depths as text."""
        return tuple(map(str, self.depths))

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The depths as text."""
        return (self.names,)

    @property
    def primitive(self) -> str:
        """The kind of choice, as ``AlgorithmSpec.primitives`` names it."""
        return "repeat"

    @cached_property
    def domain(self) -> Domain[Any]:
        """The set of the possible decisions."""
        return OneOf(self.depths, self.names, "depth")

    def problem(self, decision: Decision) -> str | None:
        """Return why a decision is invalid, or None."""
        if type(decision) is int and decision in self.depths:
            return None
        return f"{decision!r} is not one of the depths {', '.join(self.names)}"


def check_unique(key: str, names: tuple[str, ...]) -> None:
    """Check that no name occurs twice.

    Raises:
        ValueError: One does.
    """
    if len(set(names)) != len(names):
        raise ValueError(f"choice {key!r} has two candidates of one name: {', '.join(names)}")
