"""The description of a search space: every choice, its key, its candidates. Imports no torch.

A ``SearchSpaceSpec`` is extracted from a model (``nasreg.nn.extract_space``) and is all that a mutator sees of it.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from nasreg.errors import ArchitectureError, SpaceError
from nasreg.specs.architecture import Architecture, Decision
from nasreg.specs.base import Spec
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


class SearchSpaceSpec(Spec):
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
        for choice in self.choices:
            if choice.key == key:
                return choice
        raise KeyError(key)

    @property
    def fingerprint(self) -> str:
        """Identity of the decisions to take: the same on every machine, in every process and for any depth or width."""
        identities = sorted((choice.identity() for choice in self.choices), key=lambda item: str(item["key"]))
        text = json.dumps(identities, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def size(self) -> int:
        """Return the number of architectures in the space."""
        return math.prod(choice.size() for choice in self.choices)

    def sample(self, rng: random.Random) -> Architecture:
        """Draw an architecture uniformly."""
        return self.architecture({choice.key: choice.sample(rng) for choice in self.choices})

    def architecture(self, decisions: Mapping[str, Decision]) -> Architecture:
        """Make an architecture of this space out of decisions, after checking them.

        Raises:
            ArchitectureError: A decision is missing, unknown or impossible.
        """
        architecture = Architecture(fingerprint=self.fingerprint, decisions=dict(decisions))
        self.validate(architecture)
        return architecture

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
