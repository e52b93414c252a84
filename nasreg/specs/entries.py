"""The entries of the registry beside algorithms, as data that names its code, and what all entries share.

Spaces, data sets, evaluators, executors, published architectures and recipes. Imports no torch.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_serializer, model_validator

from nasreg.errors import IncompatibleError, PluginError
from nasreg.specs.base import Config, Reference, Spec, reference_name, resolve
from nasreg.specs.notation import Notation

Kind = Literal["algorithm", "space", "dataset", "evaluator", "executor", "genotype", "recipe"]
"""The kinds of entries."""

GenotypeName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
"""Published genotypes keep the names that they were published under."""

RegistryName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9_.-]*$")]

Capability = RegistryName
"""A name for what a space can do beyond being searched, such as being built deeper. Any name will do: it means what the
algorithms that require it and the spaces that have it agree upon."""

Split = Literal["arch", "validation"]
"""A part of the training images that is kept from the weights: ``arch`` is the one on which a one-shot algorithm learns
its architecture parameters, ``validation`` is held out to score on."""


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


class NamedEntry(Spec):
    """The base of all entries that have a summary."""

    name: RegistryName = Field(description="the name it is looked up by")
    summary: str = Field(min_length=1, description="what it is, in one line")


class SpaceEntry(NamedEntry):
    """A search space in the registry.

    ``factory(info: DataInfo, config)`` gives the module with its choices; that of a space without networks gives its
    ``SearchSpaceSpec``.
    """

    paper: str | None = Field(default=None, description="title, authors and address of the paper")
    factory: Reference = Field(description="'package.module:name' of what builds the module")
    network: bool = Field(
        default=True,
        description="whether its architectures have networks; those of a space without any are only looked up in a"
        " table, and its factory gives the SearchSpaceSpec instead of a module",
    )
    config: Reference = Field(description="'package.module:Class' of its options")
    capabilities: dict[Capability, str] = Field(
        default_factory=dict,
        description="name of a capability -> the option of the space that provides it. In use are depth (number of"
        " cells or blocks), edge_candidates (key of a cell -> names of the operations possible on each edge),"
        " auxiliary (whether the network to retrain gives the logits of an auxiliary head, too) and elastic_chain"
        " (largest number of blocks, with decisions and modules named as in the space elastic-chain)",
    )
    cost: str | None = Field(
        default=None, description="what its networks cost at a usual size, such as parameters and multiply-accumulates"
    )
    retrain: dict[str, Any] = Field(
        default_factory=dict, description="options that make it build the network to retrain instead of the supernet"
    )
    notation: Notation | None = Field(
        default=None, description="text form in which its architectures are published, where that is no genotype"
    )
    evaluator: str | None = Field(
        default=None,
        description="evaluator of a multi-trial search of this space, where neither the user nor the algorithm names"
        " one",
    )
    default_preset: RegistryName | None = Field(
        default=None,
        description="preset used with this space where none is named and the algorithm has it, such as the published"
        " budget of a benchmark",
    )
    diagnostics: Reference | None = Field(
        default=None,
        description="'package.module:name' of a function (run: RunSpec, space: SearchSpaceSpec) -> (architecture ->"
        " {name: number}): figures of the present architecture that a one-shot search shows after each epoch, such as"
        " its accuracy in a table",
    )

    @property
    def component(self) -> Component:
        """Its factory and options."""
        return Component(factory=self.factory, config=self.config)

    @property
    def without_networks(self) -> str:
        """What to tell the user of a space without networks who needs one."""
        return f"search space {self.name!r} has no networks, only architectures to look up in a table"

    @property
    def references(self) -> tuple[Any, ...]:
        """The functions that it names beside its factory."""
        notation = self.notation
        named = [] if notation is None else [notation.formatter, notation.parser, notation.options]
        return tuple(each for each in (*named, self.diagnostics) if each is not None)


class DatasetEntry(NamedEntry):
    """A data set in the registry. ``factory(config)`` gives a ``nasreg.data.DatasetBundle``."""

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


Need = Literal["data", "network"]
"""What an evaluator needs: the images, or the network of a proposal."""


class EvaluatorConfig(Config):
    """Base of the options of an evaluator that does not need everything its spec names with each of its options."""

    @property
    def unneeded(self) -> frozenset[Need | Split]:
        """Needs and splits that the spec of the evaluator names and these options do not use."""
        return frozenset()


class EvaluatorSpec(NamedEntry):
    """An evaluator in the registry: it gives each proposal of a multi-trial search a score.

    ``factory(context: EvaluatorContext, config)`` gives a ``nasreg.evaluators.Evaluator``.
    """

    paper: str | None = Field(default=None, description="title, authors and address of the paper")
    factory: Reference = Field(description="'package.module:name' of the evaluator")
    config: Reference = Field(default="nasreg.specs:Config", description="'package.module:Class' of its options")
    needs: frozenset[Need] = Field(
        default=frozenset(),
        description="data: the images, which are loaded only then; network: the network of each proposal; options that"
        " are an EvaluatorConfig may say that they do not use one of them",
    )
    splits: frozenset[Split] = Field(
        default=frozenset(), description="splits of the training images that it needs beside train"
    )
    spaces: tuple[str, ...] = Field(
        default=(), description="names of the only search spaces that it can score; empty for any"
    )
    fidelity: bool = Field(default=False, description="whether it can evaluate with a share of its full effort")

    @field_serializer("needs", "splits", when_used="json")
    def _sorted(self, value: frozenset[str]) -> list[str]:
        return sorted(value)  # the order of a set differs from process to process

    @property
    def component(self) -> Component:
        """Its factory and options."""
        return Component(factory=self.factory, config=self.config)

    def needs_with(self, config: Config) -> frozenset[Need]:
        """Return what it needs with some options."""
        return self.needs - config.unneeded if isinstance(config, EvaluatorConfig) else self.needs

    def splits_with(self, config: Config) -> frozenset[Split]:
        """Return the splits beside train that it needs with some options."""
        return self.splits - config.unneeded if isinstance(config, EvaluatorConfig) else self.splits

    def check_space(self, name: str, entry: SpaceEntry | None = None) -> None:
        """Check, before anything is loaded, that this evaluator can score architectures of a space.

        Args:
            name: Name of the space, without a distribution.
            entry: Its entry in the registry, if it has one.

        Raises:
            IncompatibleError: It cannot.
        """
        if self.spaces and name not in self.spaces:
            raise IncompatibleError(
                f"evaluator {self.name!r} cannot score architectures of search space {name!r}; it scores those of:"
                f" {', '.join(self.spaces)}"
            )
        if "network" in self.needs and entry is not None and not entry.network:
            own = f": choose --evaluator {entry.evaluator}" if entry.evaluator is not None else ""
            raise IncompatibleError(
                f"evaluator {self.name!r} needs the network of each architecture, but {entry.without_networks}{own}"
            )


class ExecutorEntry(NamedEntry):
    """An executor in the registry: it says where the trials of a search, or the runs of a study, are computed.

    ``factory(work: nasreg.executors.Work, config)`` gives a ``nasreg.executors.TaskExecutor``.
    """

    factory: Reference = Field(description="'package.module:name' of the executor")
    config: Reference = Field(default="nasreg.specs:Config", description="'package.module:Class' of its options")

    @property
    def component(self) -> Component:
        """Its factory and options."""
        return Component(factory=self.factory, config=self.config)


class GenotypeEntry(Spec):
    """A published architecture in the registry."""

    name: GenotypeName = Field(description="the name it is looked up by")
    summary: str = Field(min_length=1, description="what it is, in one line")
    paper: str | None = Field(default=None, description="title, authors and address of the paper")
    space: RegistryName = Field(description="the search space that it belongs to")
    genotype: str = Field(
        description="Genotype(normal=[...], ...), as the authors' programs write it, or a text in the notation of the"
        " space"
    )


class RecipeEntry(NamedEntry):
    """The settings of a retraining in the registry, such as those of a paper."""

    paper: str | None = Field(default=None, description="title, authors and address of the paper")
    seed: int | None = Field(default=None, description="seed, where the recipe names one")
    trainer: dict[str, Any] = Field(default_factory=dict, description="options of the training")
    spaces: dict[str, dict[str, Any]] = Field(default_factory=dict, description="options by name of the space")
    dataset: dict[str, Any] = Field(default_factory=dict, description="options common to all data sets")


class RenamedEntry(Spec):
    """An entry that has another name now. The old name still finds it, with a warning, and is in no list."""

    kind: Kind = Field(description="kind of the entry")
    old: GenotypeName = Field(description="the name that it had")
    new: GenotypeName = Field(description="the name that it has; the same plugin provides it")

    @model_validator(mode="after")
    def _another(self) -> RenamedEntry:
        if self.old == self.new:
            raise ValueError(f"{self.kind} {self.old!r} is renamed to itself")
        return self
