"""The description of a search space: every choice, its key, its candidates. Imports no torch.

A ``SearchSpaceSpec`` is extracted from a model (``nasreg.nn.extract_space``) and is all that a mutator sees of it.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError, model_validator

from nasreg.errors import ArchitectureError, SpaceError
from nasreg.specs.architecture import Architecture, CellDecision, Decision, InputDecision
from nasreg.specs.base import Spec

NONE = "none"
"""The candidate of a cell that cuts the edge. It takes part in a relaxation but is never chosen."""

SKIP = "skip_connect"
"""The candidate of a cell that passes its input on; reports count it, since searches collapse into it."""

Key = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_./-]+$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Reduction = Literal["sum", "mean", "concat", "none"]


class _ChoiceSpec(Spec):
    key: Key = Field(description="name of the decision; choices with the same key share it")
    paths: tuple[str, ...] = Field(
        default=(), description="modules that ask for this decision; not part of the identity"
    )

    def identity(self) -> dict[str, object]:
        """Return the part that the fingerprint covers: everything except the place of the choice in the model."""
        return self.model_dump(mode="json", exclude={"paths"})


class LayerChoiceSpec(_ChoiceSpec):
    """Exactly one of the candidate modules."""

    kind: Literal["layer"] = "layer"
    candidates: tuple[Name, ...] = Field(min_length=1, description="names of the candidate modules")

    @model_validator(mode="after")
    def _unique(self) -> LayerChoiceSpec:
        _check_unique(self.key, self.candidates)
        return self

    @property
    def primitive(self) -> str:
        """The kind of choice, as ``AlgorithmSpec.primitives`` names it."""
        return "layer"

    def size(self) -> int:
        """Return the number of possible decisions."""
        return len(self.candidates)

    def sample(self, rng: random.Random) -> str:
        """Draw a decision uniformly."""
        return rng.choice(self.candidates)

    def problem(self, decision: Decision) -> str | None:
        """Return why a decision is invalid, or None."""
        if isinstance(decision, str) and decision in self.candidates:
            return None
        return f"{decision!r} is not one of {', '.join(self.candidates)}"


class InputChoiceSpec(_ChoiceSpec):
    """Some of the inputs: exactly ``n_chosen`` of them, or any number where that is None."""

    kind: Literal["input"] = "input"
    candidates: tuple[Name, ...] = Field(min_length=1, description="names of the inputs")
    n_chosen: int | None = Field(default=1, ge=1, description="how many are chosen; null for any number")
    reduction: Reduction = Field(default="sum", description="how the chosen inputs are joined")

    @model_validator(mode="after")
    def _consistent(self) -> InputChoiceSpec:
        _check_unique(self.key, self.candidates)
        if self.n_chosen is not None and self.n_chosen > len(self.candidates):
            raise ValueError(f"choice {self.key!r} chooses {self.n_chosen} of only {len(self.candidates)} inputs")
        return self

    @property
    def primitive(self) -> str:
        """The kind of choice, as ``AlgorithmSpec.primitives`` names it: ``input/`` and the reduction."""
        return f"input/{self.reduction}"

    @property
    def min_chosen(self) -> int:
        """The smallest number of chosen inputs; there is no concatenation of nothing."""
        return self.n_chosen if self.n_chosen is not None else int(self.reduction == "concat")

    def size(self) -> int:
        """Return the number of possible decisions."""
        n = len(self.candidates)
        return math.comb(n, self.n_chosen) if self.n_chosen is not None else 2**n - self.min_chosen

    def sample(self, rng: random.Random) -> InputDecision:
        """Draw a decision uniformly."""
        if self.n_chosen is not None:
            chosen = set(rng.sample(self.candidates, self.n_chosen))
        else:
            bits = rng.randrange(self.min_chosen, 2 ** len(self.candidates))
            chosen = {name for number, name in enumerate(self.candidates) if bits >> number & 1}
        return tuple(name for name in self.candidates if name in chosen)

    def problem(self, decision: Decision) -> str | None:
        """Return why a decision is invalid, or None."""
        if isinstance(decision, str) or not all(isinstance(name, str) for name in decision):
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


class CellSpec(_ChoiceSpec):
    """A directed acyclic cell: each node keeps some of its incoming edges, with one operation on each (DARTS, NASNet).

    States are numbered: the inputs 0 .. ``inputs`` - 1, then the nodes. Node i may take every earlier state. Edges are
    ordered node by node, then source by source.
    """

    kind: Literal["cell"] = "cell"
    inputs: int = Field(ge=1, le=64, description="number of input states")
    nodes: int = Field(ge=1, le=64, description="number of intermediate nodes")
    candidates: tuple[tuple[Name, ...], ...] = Field(description="names of the operations possible on each edge")
    edges_kept: int = Field(default=2, ge=1, description="incoming edges that a node keeps (all, where it has fewer)")
    concat: tuple[int, ...] = Field(min_length=1, description="states that are concatenated to the output")
    reduction: bool = Field(default=False, description="whether edges from the inputs halve height and width")

    @model_validator(mode="after")
    def _consistent(self) -> CellSpec:
        if len(self.candidates) != self.n_edges:
            raise ValueError(f"cell {self.key!r} has {self.n_edges} edges, but candidates for {len(self.candidates)}")
        for names in self.candidates:
            _check_unique(self.key, names)
        for node in range(self.nodes):
            usable = sum(bool(self.selectable(edge)) for edge in self.edges_into(node))
            if usable < self.kept(node):
                raise ValueError(
                    f"cell {self.key!r}: node {node} keeps {self.kept(node)} edges,"
                    f" but only {usable} can carry an operation"
                )
        states = self.inputs + self.nodes
        if len(set(self.concat)) != len(self.concat) or not all(0 <= state < states for state in self.concat):
            raise ValueError(f"cell {self.key!r}: concat {list(self.concat)} must name different states below {states}")
        return self

    @property
    def primitive(self) -> str:
        """The kind of choice, as ``AlgorithmSpec.primitives`` names it."""
        return "cell"

    @property
    def n_edges(self) -> int:
        """The number of edges: 14 for 2 inputs and 4 nodes."""
        return sum(self.inputs + node for node in range(self.nodes))

    def kept(self, node: int) -> int:
        """Return how many incoming edges ``node`` keeps."""
        return min(self.edges_kept, self.inputs + node)

    def edges_into(self, node: int) -> range:
        """Return the numbers of the edges into ``node``; the k-th of them comes from state k."""
        first = node * self.inputs + node * (node - 1) // 2
        return range(first, first + self.inputs + node)

    def selectable(self, edge: int) -> tuple[str, ...]:
        """Return the operations that can be chosen on an edge: all but ``none``."""
        return tuple(name for name in self.candidates[edge] if name != NONE)

    def _ways(self, edges: Iterable[int], kept: int) -> int:
        """Count the decisions that keep ``kept`` of ``edges``: the elementary symmetric polynomial of the op counts."""
        ways = [1] + [0] * kept
        for edge in edges:
            for k in range(kept, 0, -1):
                ways[k] += ways[k - 1] * len(self.selectable(edge))
        return ways[kept]

    def size(self) -> int:
        """Return the number of possible decisions."""
        return math.prod(self._ways(self.edges_into(node), self.kept(node)) for node in range(self.nodes))

    def sample(self, rng: random.Random) -> CellDecision:
        """Draw a decision uniformly (also where edges have different numbers of candidates)."""
        decision = []
        for node in range(self.nodes):
            edges, left, chosen = self.edges_into(node), self.kept(node), []
            for source, edge in enumerate(edges):
                rest = edges[source + 1 :]
                taking = len(self.selectable(edge)) * self._ways(rest, left - 1) if left else 0
                if taking and rng.randrange(taking + self._ways(rest, left)) < taking:
                    chosen.append((rng.choice(self.selectable(edge)), source))
                    left -= 1
            decision.append(tuple(chosen))
        return tuple(decision)

    def problem(self, decision: Decision) -> str | None:
        """Return why a decision is invalid, or None."""
        if isinstance(decision, str) or any(isinstance(node, str) for node in decision):
            return f"{decision!r} is not a list of edges per node"
        if len(decision) != self.nodes:
            return f"the cell has {self.nodes} nodes, the decision {len(decision)}"
        for node, kept in enumerate(decision):
            sources = [source for _, source in kept if isinstance(source, int)]
            if len(kept) != self.kept(node) or len(set(sources)) != len(kept):
                edges = [list(edge) for edge in kept]
                return f"node {node} must keep {self.kept(node)} edges from different states, not {edges}"
            for operation, source in kept:
                if not isinstance(source, int) or not 0 <= source < self.inputs + node:
                    return f"node {node} cannot take state {source}"
                if operation not in self.selectable(self.edges_into(node)[source]):
                    names = ", ".join(self.selectable(self.edges_into(node)[source]))
                    return f"node {node}: {operation!r} from state {source} is not one of {names}"
        return None


AnyChoiceSpec = LayerChoiceSpec | InputChoiceSpec | CellSpec
ChoiceSpec = Annotated[AnyChoiceSpec, Field(discriminator="kind")]
"""``AnyChoiceSpec`` as a field of a spec: told apart by ``kind``."""


def _check_unique(key: str, names: tuple[str, ...]) -> None:
    if len(set(names)) != len(names):
        raise ValueError(f"choice {key!r} has two candidates of one name: {', '.join(names)}")


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
