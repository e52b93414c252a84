"""An algorithm in the registry: its mutator, its trainer and its presets, as data that names their code.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import Field, field_serializer, field_validator, model_validator

from nasreg.errors import IncompatibleError
from nasreg.specs.base import Spec
from nasreg.specs.entries import Capability, Component, NamedEntry, RegistryName, SpaceEntry, Split

if TYPE_CHECKING:
    from nasreg.specs.space import SearchSpaceSpec

Family = Literal["one-shot", "multi-trial"]
"""One supernet with shared weights, or architectures that are proposed and evaluated one by one."""

DEFAULT_EVALUATOR = "training"
"""Name of the evaluator of multi-trial algorithms that name none."""

Primitive = Literal[
    "layer",
    "input",
    "input/sum",
    "input/mean",
    "input/concat",
    "input/none",
    "value",
    "repeat",
    "cell",
    "cell/slots",
    "cell/loose-ends",
]
"""The kinds of choices. ``input`` stands for all that begin with ``input/``; each kind of cell stands for itself."""

PRIMITIVES: frozenset[Primitive] = frozenset(kind for kind in get_args(Primitive) if not kind.startswith("input/"))
"""All kinds of choices, for an algorithm that uses only the operations of ``SearchSpaceSpec``."""


class MutatorSpec(Component):
    """The mutator, which decides the choices. The factory is called as ``factory(space: SearchSpaceSpec, config)``."""


class TrainerSpec(Component):
    """The trainer, which drives the search. The factory is called as ``factory(context, config)``.

    The context is a ``OneShotContext`` for a one-shot algorithm, a ``MultiTrialContext`` for a multi-trial one.
    """


def _core_trainer() -> TrainerSpec:
    return TrainerSpec(factory="nasreg.trainers:MultiTrialTrainer", config="nasreg.trainers:MultiTrialTrainerConfig")


class Preset(Spec):
    """A named set of options."""

    summary: str = Field(description="what it is for, in one line")
    space: str | None = Field(
        default=None, description="space used with this preset where none is named; the algorithm's own where null"
    )
    seed: int | None = Field(default=None, description="seed, where the recipe names one")
    mutator: dict[str, Any] = Field(default_factory=dict, description="options of the mutator")
    trainer: dict[str, Any] = Field(default_factory=dict, description="options of the trainer")
    evaluator: dict[str, Any] = Field(
        default_factory=dict, description="options of the algorithm's own evaluator; they do not apply to another one"
    )
    spaces: dict[str, dict[str, Any]] = Field(default_factory=dict, description="options by name of the space")
    dataset: dict[str, Any] = Field(default_factory=dict, description="options common to all data sets")


class AlgorithmSpec(NamedEntry):
    """A NAS algorithm: a mutator, a trainer, and what a user wants to know before using them."""

    paper: str | None = Field(default=None, description="title, authors and address of the paper")
    family: Family = Field(description="one supernet with shared weights, or architectures evaluated one by one")
    primitives: frozenset[Primitive] = Field(min_length=1, description="kinds of choices that it can handle")
    requires: frozenset[Capability] = Field(
        default=frozenset(), description="capabilities that a space must have; see SpaceEntry.capabilities"
    )
    requires_choices: frozenset[Primitive] = Field(
        default=frozenset(), description="kinds of choices of which a space must have one each; any will do if empty"
    )
    splits: frozenset[Split] = Field(
        default=frozenset(), description="splits of the training images that it needs beside train"
    )
    mutator: MutatorSpec
    trainer: TrainerSpec = Field(
        default_factory=_core_trainer, description="the trainer; a multi-trial algorithm takes the core's by default"
    )
    presets: dict[RegistryName, Preset] = Field(min_length=1, description="named sets of options")
    default_preset: RegistryName = Field(description="preset used where none is named")
    default_space: str = Field(min_length=1, description="space used where none is named")
    evaluator: str | None = Field(
        default=None,
        description="evaluator used where none is named, whatever the space; a one-shot algorithm has none, and a"
        " multi-trial one takes by default that of the space, else training",
    )

    fidelity: bool = Field(
        default=False,
        description="whether it proposes with less than the evaluator's full effort; see Proposal.fidelity",
    )

    @model_validator(mode="after")
    def _of_family(self) -> AlgorithmSpec:
        if self.family == "one-shot" and "trainer" not in self.model_fields_set:
            raise ValueError("a one-shot algorithm needs a trainer of its own")
        if self.family == "one-shot" and self.evaluator is not None:
            raise ValueError("a one-shot algorithm has no evaluator: it learns on one supernet")
        return self

    @property
    def default_evaluator(self) -> str | None:
        """The evaluator of a search that names none, of a space that has none; None for a one-shot algorithm."""
        return None if self.family == "one-shot" else self.evaluator or DEFAULT_EVALUATOR

    @field_validator("default_preset")
    @classmethod
    def _known_preset(cls, value: str, info: Any) -> str:
        presets = info.data.get("presets")
        if presets is not None and value not in presets:
            raise ValueError(f"preset {value!r} is not among {', '.join(presets)}")
        return value

    @field_serializer("primitives", "requires", "requires_choices", "splits", when_used="json")
    def _sorted(self, value: frozenset[str]) -> list[str]:
        return sorted(value)  # the order of a set differs from process to process

    def check_space(
        self, name: str, space: SearchSpaceSpec, entry: SpaceEntry | None, installed: Iterable[SpaceEntry] = ()
    ) -> None:
        """Check, before any training, that this algorithm can search a space.

        Args:
            name: Name of the space, for the error.
            space: Its choices.
            entry: Its entry in the registry, if it has one.
            installed: The spaces that can be had instead, for the error.

        Raises:
            IncompatibleError: It cannot handle a choice, or requires a choice or a capability that the space does not
                have.
        """
        self.check_capabilities(name, entry, installed)
        for choice in space.choices:
            kind = choice.primitive
            if kind not in self.primitives and not (kind.startswith("input/") and "input" in self.primitives):
                raise IncompatibleError(
                    f"algorithm {self.name!r} cannot handle choice {choice.key!r} (kind {kind});"
                    f" it handles: {', '.join(sorted(self.primitives))}"
                )
        missing = sorted(self.requires_choices - {choice.primitive for choice in space.choices})
        if missing:
            raise IncompatibleError(
                f"algorithm {self.name!r} requires a choice of the kind {' and one of the kind '.join(missing)}, which"
                f" search space {name!r} does not have"
            )

    def check_capabilities(self, name: str, entry: SpaceEntry | None, installed: Iterable[SpaceEntry] = ()) -> None:
        """Check that a space has the capabilities that this algorithm requires; takes what ``check_space`` does.

        Raises:
            IncompatibleError: It has not, or the algorithm trains a supernet and the space has no networks.
        """
        if self.family == "one-shot" and entry is not None and not entry.network:
            raise IncompatibleError(
                f"algorithm {self.name!r} trains a supernet, but {entry.without_networks}: choose a multi-trial"
                " algorithm"
            )
        missing = sorted(self.requires - set(entry.capabilities if entry else ()))
        if missing:
            able = sorted(each.name for each in installed if self.requires <= set(each.capabilities))
            raise IncompatibleError(
                f"algorithm {self.name!r} requires of a space: {', '.join(sorted(self.requires))};"
                f" search space {name!r} does not have {', '.join(missing)}. "
                + (f"Installed spaces that have all of it: {', '.join(able)}" if able else "No installed space has it")
            )
