"""What the registry holds: algorithms, search spaces and data sets, as data that names its code. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator

from nasreg.errors import IncompatibleError, PluginError
from nasreg.specs.base import Config, Reference, Spec, reference_name, resolve

if TYPE_CHECKING:
    from nasreg.specs.space import SearchSpaceSpec

PLUGIN_API = 1
"""The version of the contract between core and plugins; an AlgorithmSpec says for which it was written."""

GenotypeName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
"""Published genotypes keep the names that they were published under."""

RegistryName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
Capability = Literal["depth", "edge_candidates", "auxiliary"]
"""What a space may be able to do: to be built deeper, with fewer operations on each edge, with an auxiliary head."""

Family = Literal["one-shot", "multi-trial"]
"""One supernet with shared weights, or one training a trial."""

Primitive = Literal["layer", "input", "input/sum", "input/mean", "input/concat", "input/none", "cell"]


class Component(Spec):
    """A factory and the options it takes."""

    factory: Reference = Field(description="'package.module:name' of what is called")
    config: Reference = Field(
        description="'package.module:Class' of its options, a nasreg.specs.Config that imports no torch"
    )

    def load_factory(self) -> Any:
        """Import the factory.

        Raises:
            PluginError: It does not exist or its module fails to import.
        """
        return resolve(self.factory, "factory")

    def load_config(self) -> type[Config]:
        """Import the class of the options.

        Raises:
            PluginError: It does not exist, its module fails to import, or it is not a ``Config``.
        """
        found = resolve(self.config, "config")
        if not (isinstance(found, type) and issubclass(found, Config)):
            raise PluginError(f"config {reference_name(self.config)!r} is not a subclass of nasreg.specs.Config")
        return found


class MutatorSpec(Component):
    """Who decides the choices. The factory is called as ``factory(space: SearchSpaceSpec, config)``."""


class TrainerSpec(Component):
    """Who drives the training. The factory is called as ``factory(task: SearchTask, config)``."""


class Preset(Spec):
    """A named set of options."""

    summary: str = Field(description="what it is for, in one line")
    seed: int | None = Field(default=None, description="seed, where the recipe names one")
    mutator: dict[str, Any] = Field(default_factory=dict, description="options of the mutator")
    trainer: dict[str, Any] = Field(default_factory=dict, description="options of the trainer")
    spaces: dict[str, dict[str, Any]] = Field(default_factory=dict, description="options by name of the space")
    dataset: dict[str, Any] = Field(default_factory=dict, description="options common to all data sets")


class _Entry(Spec):
    name: RegistryName = Field(description="the name it is looked up by")
    summary: str = Field(min_length=1, description="what it is, in one line")


class AlgorithmSpec(_Entry):
    """A NAS algorithm: a mutator, a trainer, and what a user wants to know before using them."""

    plugin_api: int = Field(description="the PLUGIN_API that it was written for")
    paper: str | None = Field(default=None, description="title, authors and address of the paper")
    family: Family = Field(description="one supernet with shared weights, or one training a trial")
    primitives: frozenset[Primitive] = Field(min_length=1, description="kinds of choices that it can handle")
    requires: frozenset[Capability] = Field(
        default=frozenset(), description="what a space must be able to do for it; see SpaceEntry.capabilities"
    )
    mutator: MutatorSpec
    trainer: TrainerSpec
    presets: dict[RegistryName, Preset] = Field(min_length=1, description="named sets of options")
    default_preset: RegistryName = Field(description="preset used where none is named")
    default_space: str = Field(default="darts", description="space used where none is named")

    @field_validator("default_preset")
    @classmethod
    def _known_preset(cls, value: str, info: Any) -> str:
        presets = info.data.get("presets")
        if presets is not None and value not in presets:
            raise ValueError(f"preset {value!r} is not among {', '.join(presets)}")
        return value

    def check_space(self, name: str, space: SearchSpaceSpec, entry: SpaceEntry | None) -> None:
        """Check, before any training, that this algorithm can search a space.

        Args:
            name: Name of the space, for the error.
            space: Its choices.
            entry: What is registered of it, if it is.

        Raises:
            IncompatibleError: It cannot handle a choice, or requires what the space cannot do.
        """
        missing = self.requires - set(entry.capabilities if entry else ())
        if missing:
            raise IncompatibleError(
                f"algorithm {self.name!r} requires of a space: {', '.join(sorted(missing))}; space {name!r} has no"
                " option for that. A registered space names such options in SpaceEntry.capabilities, as 'darts' does"
            )
        for choice in space.choices:
            kind = choice.primitive
            if kind not in self.primitives and kind.partition("/")[0] not in self.primitives:
                raise IncompatibleError(
                    f"algorithm {self.name!r} cannot handle choice {choice.key!r} (kind {kind});"
                    f" it handles: {', '.join(sorted(self.primitives))}"
                )


class SpaceEntry(_Entry):
    """A search space in the registry. ``factory(info: DataInfo, config)`` gives the module with its choices."""

    paper: str | None = Field(default=None, description="title, authors and address of the paper")
    factory: Reference = Field(description="'package.module:name' of what builds the module")
    config: Reference = Field(description="'package.module:Class' of its options")
    capabilities: dict[Capability, str] = Field(
        default_factory=dict,
        description="name of the option for depth (its number of cells or blocks), for edge_candidates (key of a cell"
        " -> names of the operations possible on each edge), and for auxiliary (whether the network to retrain gives"
        " the logits of an auxiliary head, too)",
    )
    retrain: dict[str, Any] = Field(
        default_factory=dict, description="options that make it build the network to retrain instead of the supernet"
    )

    @property
    def component(self) -> Component:
        """Its factory and options."""
        return Component(factory=self.factory, config=self.config)


class DatasetEntry(_Entry):
    """A data set in the registry. ``factory(config)`` gives a ``nasreg.data.LoadedDataset``."""

    factory: Reference = Field(description="'package.module:name' of what loads it")
    config: Reference = Field(
        description="'package.module:Class' of its options, a subclass of nasreg.data.DatasetConfig"
    )
    default_preset: RegistryName | None = Field(
        default=None, description="preset used with this data set where none is named and the algorithm has it"
    )

    @property
    def component(self) -> Component:
        """Its factory and options."""
        return Component(factory=self.factory, config=self.config)


class GenotypeEntry(Spec):
    """A published architecture in the registry."""

    name: GenotypeName = Field(description="the name it is looked up by")
    summary: str = Field(min_length=1, description="what it is, in one line")
    paper: str | None = Field(default=None, description="title, authors and address of the paper")
    space: RegistryName = Field(default="darts", description="the search space that it belongs to")
    genotype: str = Field(description="Genotype(normal=[...], ...), as the authors' programs write it")
