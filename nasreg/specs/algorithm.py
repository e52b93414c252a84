"""The entries of the registry: algorithms, spaces, data sets, evaluators, and so on, as data that names its code.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import Field, StringConstraints, field_serializer, field_validator, model_validator

from nasreg.errors import IncompatibleError, PluginError
from nasreg.specs.base import Config, Reference, Spec, reference_name, resolve
from nasreg.specs.notation import Notation

if TYPE_CHECKING:
    from nasreg.specs.space import SearchSpaceSpec

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


class _Entry(Spec):
    name: RegistryName = Field(description="the name it is looked up by")
    summary: str = Field(min_length=1, description="what it is, in one line")


class AlgorithmSpec(_Entry):
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


class SpaceEntry(_Entry):
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


class DatasetEntry(_Entry):
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


class EvaluatorSpec(_Entry):
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


class ExecutorEntry(_Entry):
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


class RecipeEntry(_Entry):
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
