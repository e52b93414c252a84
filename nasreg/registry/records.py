"""The words of the registry: kinds of entries, their titles, and the record of what became of a plugin."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from nasreg.specs.algorithm import AlgorithmSpec
from nasreg.specs.entries import (
    DatasetEntry,
    EvaluatorSpec,
    ExecutorEntry,
    GenotypeEntry,
    Kind,
    RecipeEntry,
    RenamedEntry,
    SpaceEntry,
)

CORE = "nasreg"
"""Name of the core's own plugin, and of its distribution."""

IN_PROCESS = "(in process)"
"""Stands for what ``register`` was given in this process."""

Entry = AlgorithmSpec | SpaceEntry | DatasetEntry | EvaluatorSpec | ExecutorEntry | GenotypeEntry | RecipeEntry

KINDS: dict[Kind, type[Entry]] = {
    "algorithm": AlgorithmSpec,
    "space": SpaceEntry,
    "dataset": DatasetEntry,
    "evaluator": EvaluatorSpec,
    "executor": ExecutorEntry,
    "genotype": GenotypeEntry,
    "recipe": RecipeEntry,
}
TITLES: dict[Kind, str] = {
    "algorithm": "algorithm",
    "space": "search space",
    "dataset": "data set",
    "evaluator": "evaluator",
    "executor": "executor",
    "genotype": "genotype",
    "recipe": "recipe",
}


@dataclass(frozen=True)
class PluginRecord:
    """The state of one plugin after discovery."""

    name: str
    """Name of the entry point; ``nasreg`` is the core itself, ``(in process)`` what ``register`` was given."""
    distribution: str | None
    version: str | None
    status: Literal["ok", "failed", "disabled"] = "ok"
    summary: str | None = None
    """Summary in one line: from its ``PluginInfo``, else from the metadata of its distribution."""
    homepage: str | None = None
    """Address of its home page, from the same places."""
    api: int | None = None
    """Version of the contract that it was written for, where it states one."""
    module: str | None = None
    """Name of the plugin module, or ``module:object``, as the entry point gives it."""
    file: str | None = None
    """File of the plugin module, where it is known."""
    metadata: str | None = None
    """Path of the ``.dist-info`` of its distribution."""
    seconds: float = 0.0
    """Seconds that it took to load."""
    error: str | None = None
    """The root cause, in one line."""
    traceback: str | None = None
    algorithms: tuple[str, ...] = ()
    spaces: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    evaluators: tuple[str, ...] = ()
    executors: tuple[str, ...] = ()
    genotypes: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    clashes: tuple[str, ...] = ()
    """Names that another plugin claims too, one line each; only their qualified names can be looked up."""

    @property
    def origin(self) -> str:
        """The plugin and its distribution, for a message."""
        if self.name == IN_PROCESS:
            return "this process"
        distribution = " ".join(filter(None, [self.distribution, self.version]))
        return f"plugin {self.name!r} ({distribution})" if distribution else f"plugin {self.name!r}"

    @property
    def key(self) -> tuple[str | None, ...]:
        """Tells it from other plugins: the names of entry point and distribution, and where it is installed."""
        return self.name, self.distribution, self.metadata


def kind_of(entry: Entry | RenamedEntry) -> Kind:
    """Return the kind of an entry."""
    if isinstance(entry, RenamedEntry):
        return entry.kind
    return next(kind for kind, cls in KINDS.items() if isinstance(entry, cls))


def name_of(entry: Entry | RenamedEntry) -> str:
    """Return the name that an entry claims; for a renamed one that is its old name."""
    return entry.old if isinstance(entry, RenamedEntry) else entry.name


def normalize(name: str) -> str:
    """Return the name of a distribution in the form in which two spellings of it are equal (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
