"""The registry: algorithms, search spaces, data sets and genotypes by name, from plugins and from this process.

Imports no torch; plugins are looked for at the first look-up.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, cast

import nasreg
from nasreg.discovery import (
    CORE,
    IN_PROCESS,
    KINDS,
    TITLES,
    Entry,
    Kind,
    PluginRecord,
    check,
    collect,
    disabled,
    installed,
    kind_of,
    load_plugin,
    printing_aside,
)
from nasreg.errors import ArchitectureError, PluginError, UnknownNameError, did_you_mean
from nasreg.specs.algorithm import AlgorithmSpec, Component, DatasetEntry, GenotypeEntry, SpaceEntry


@dataclass
class _Names:
    """The names of one kind."""

    entries: dict[str, tuple[Entry, PluginRecord]] = field(default_factory=dict)
    contested: dict[str, list[PluginRecord]] = field(default_factory=dict)


class Registry:
    """Algorithms, search spaces, data sets and published genotypes by name.

    Args:
        entry_points: Whether to look for installed plugins. The core's own entries are there in any case.
    """

    def __init__(self, entry_points: bool = True) -> None:
        self._entry_points = entry_points
        self._names: dict[Kind, _Names] | None = None
        self._records: list[PluginRecord] = []

    # -- looking up ----------------------------------------------------------------------------------------------------

    def algorithm(self, name: str) -> AlgorithmSpec:
        """Return an algorithm.

        Raises:
            UnknownNameError: There is none of that name.
            PluginError: Two plugins claim the name.
            ConfigError: NASREG_PLUGINS or NASREG_DISABLE name a plugin that is not installed. So do all look-ups.
        """
        return cast("AlgorithmSpec", self._find("algorithm", name)[0])

    def space(self, name: str) -> SpaceEntry:
        """Return a search space; raises as ``algorithm`` does."""
        return cast("SpaceEntry", self._find("space", name)[0])

    def dataset(self, name: str) -> DatasetEntry:
        """Return a data set; raises as ``algorithm`` does."""
        return cast("DatasetEntry", self._find("dataset", name)[0])

    def genotype(self, name: str) -> GenotypeEntry:
        """Return a published genotype; raises as ``algorithm`` does."""
        return cast("GenotypeEntry", self._find("genotype", name)[0])

    def algorithms(self) -> list[str]:
        """Return the sorted names of the algorithms."""
        return sorted(self._discovered()["algorithm"].entries)

    def spaces(self) -> list[str]:
        """Return the sorted names of the search spaces."""
        return sorted(self._discovered()["space"].entries)

    def datasets(self) -> list[str]:
        """Return the sorted names of the data sets."""
        return sorted(self._discovered()["dataset"].entries)

    def genotypes(self) -> list[str]:
        """Return the sorted names of the published genotypes."""
        return sorted(self._discovered()["genotype"].entries)

    def plugins(self) -> list[PluginRecord]:
        """Return what became of each plugin: the core, then those installed, then what was registered in process."""
        names = self._discovered()
        records = []
        for record in self._records:
            provided: dict[str, Any] = {f"{kind}s": tuple(_owned(names[kind], record)) for kind in KINDS}
            records.append(replace(record, clashes=tuple(_clashes(names, record)), **provided))
        return records

    def check(self) -> dict[str, list[str]]:
        """Import every factory and every config class, which look-ups do not.

        Returns:
            ``PluginRecord.origin`` -> what is wrong with it, one line each; what failed to load and clashes included.
        """
        problems: dict[str, list[str]] = {}
        for record in self.plugins():
            found = [record.error] if record.error else []
            found += record.clashes
            for kind in KINDS:
                for name in getattr(record, f"{kind}s"):
                    found += _unresolved(kind, self._find(kind, name)[0])
            if found:
                problems[record.origin] = found
        return problems

    def describe(self, name: str, kind: Kind | None = None) -> dict[Kind, dict[str, Any]]:
        """Return all there is to know of a name, as JSON-able data.

        Args:
            name: Name of an algorithm, a search space, a data set or a genotype; it may be several of them at once.
            kind: Only that kind.

        Returns:
            Kind -> description, with every option: its type, default, constraints and meaning.

        Raises:
            UnknownNameError: There is nothing of that name.
            PluginError: Two plugins claim the name, or its options cannot be loaded.
        """
        from nasreg.descriptions import describe_entry

        names = self._discovered()
        kinds = [kind] if kind else [k for k in KINDS if name in names[k].entries or name in names[k].contested]
        if not kinds:
            known = {known for k in KINDS for known in names[k].entries}
            raise UnknownNameError(f"nothing is called {name!r}.{did_you_mean(name, known)}{self._failed()}")
        described: dict[Kind, dict[str, Any]] = {}
        for each in kinds:
            entry, record = self._find(each, name)
            with printing_aside():
                options = describe_entry(entry)
            described[each] = {
                **options,
                "plugin": record.name,
                "distribution": record.distribution,
                "version": record.version,
            }
        return described

    def _find(self, kind: Kind, name: str) -> tuple[Entry, PluginRecord]:
        names = self._discovered()
        if name in names[kind].entries:
            return names[kind].entries[name]
        if name in names[kind].contested:
            owners = " and ".join(record.origin for record in names[kind].contested[name])
            raise PluginError(
                f"{TITLES[kind]} {name!r} is claimed by {owners}: uninstall or NASREG_DISABLE one of them"
            )
        others = " and ".join(f"a {TITLES[k]}" for k in KINDS if name in names[k].entries)
        aside = f" (it is {others})" if others else ""
        hint = did_you_mean(name, names[kind].entries)
        raise UnknownNameError(f"there is no {TITLES[kind]} {name!r}{aside}.{hint}{self._failed()}")

    def _failed(self) -> str:
        """Say which plugins might have had a name that was not found."""
        failed = [record.origin for record in self._records if record.status == "failed"]
        disabled = [record.origin for record in self._records if record.status == "disabled"]
        text = f" Not loaded: {', '.join(failed)}; see why with: nasreg plugins --traceback." if failed else ""
        return text + (f" Disabled by NASREG_PLUGINS or NASREG_DISABLE: {', '.join(disabled)}." if disabled else "")

    # -- registering in process ----------------------------------------------------------------------------------------

    def register(self, *things: Entry | ModuleType) -> None:
        """Add entries, or all that a plugin module's hooks return, in this process only; all of them or none.

        Raises:
            PluginError: A name is taken, a plugin module breaks the contract, or a thing is neither entry nor module.
        """
        names = self._discovered()
        record = PluginRecord(IN_PROCESS, None, None)
        entries: list[Entry] = []
        for thing in things:
            if isinstance(thing, ModuleType):
                entries += collect(thing, IN_PROCESS)
            elif isinstance(thing, tuple(KINDS.values())):
                entries.append(thing)
            else:
                expected = ", ".join(cls.__name__ for cls in KINDS.values())
                raise PluginError(f"cannot register {thing!r}: expected one of {expected}, or a plugin module")
        check(entries)
        for entry in entries:
            kind = kind_of(entry)
            if entry.name in names[kind].entries or entry.name in names[kind].contested:
                owners = names[kind].contested.get(entry.name) or [names[kind].entries[entry.name][1]]
                origin = " and ".join(owner.origin for owner in owners)
                raise PluginError(f"{TITLES[kind]} {entry.name!r} is already registered by {origin}")
        for entry in entries:
            names[kind_of(entry)].entries[entry.name] = (entry, record)
        if record not in self._records:
            self._records.append(record)

    def unregister(self, *names: str) -> None:
        """Remove what ``register`` added under these names, so that a notebook's cell can be run again; all or none.

        Raises:
            UnknownNameError: ``register`` added no such name.
        """
        kinds = self._discovered().values()
        mine = [{name for name, (_, by) in kind.entries.items() if by.name == IN_PROCESS} for kind in kinds]
        for name in names:
            if name not in set().union(*mine):
                raise UnknownNameError(f"{name!r} was not registered in this process")
        for kind, known in zip(kinds, mine, strict=True):
            for name in known.intersection(names):
                del kind.entries[name]

    # -- discovery -----------------------------------------------------------------------------------------------------

    def _discovered(self) -> dict[Kind, _Names]:
        names = self._names
        if names is None:
            found = list(installed()) if self._entry_points else []
            left_out = disabled(found)  # raises before anything is loaded or kept
            names = self._names = {kind: _Names() for kind in KINDS}  # now: a plugin may look things up on its own
            core = PluginRecord(CORE, CORE, nasreg.__version__)
            try:
                self._add(names, core, functools.partial(importlib.import_module, "nasreg.builtins"))
                for record, entry_point in found:
                    if record in left_out:
                        self._records.append(replace(record, status="disabled"))
                    else:
                        self._add(names, record, entry_point.load)
            except KeyboardInterrupt:  # the next look-up begins anew, or it would miss the rest
                self._names = None
                self._records.clear()
                raise
        return names

    def _add(self, names: dict[Kind, _Names], record: PluginRecord, load: Callable[[], Any]) -> None:
        core = [(k, name) for k in KINDS for name, (_, by) in names[k].entries.items() if by.distribution == CORE]
        record, entries = load_plugin(record, load, core)
        self._records.append(record)
        for entry in entries:
            known = names[kind_of(entry)]
            if entry.name in known.contested:
                known.contested[entry.name].append(record)
            elif entry.name not in known.entries:
                known.entries[entry.name] = (entry, record)
            elif known.entries[entry.name][0] != entry:  # the same thing found twice is one
                known.contested[entry.name] = [known.entries.pop(entry.name)[1], record]


@functools.cache
def default_registry() -> Registry:
    """Return the registry that the command line and the functions of ``nasreg`` use."""
    return Registry()


def list_algorithms() -> list[str]:
    """Return the names of the NAS algorithms that are installed here."""
    return default_registry().algorithms()


def get_algorithm(name: str) -> AlgorithmSpec:
    """Return an algorithm; raises as ``Registry.algorithm`` does."""
    return default_registry().algorithm(name)


def list_spaces() -> list[str]:
    """Return the names of the search spaces that are installed here."""
    return default_registry().spaces()


def get_space(name: str) -> SpaceEntry:
    """Return a search space; raises as ``Registry.space`` does."""
    return default_registry().space(name)


def list_datasets() -> list[str]:
    """Return the names of the data sets that are installed here."""
    return default_registry().datasets()


def get_dataset(name: str) -> DatasetEntry:
    """Return a data set; raises as ``Registry.dataset`` does."""
    return default_registry().dataset(name)


def list_genotypes() -> list[str]:
    """Return the names of the published genotypes that are installed here."""
    return default_registry().genotypes()


def get_genotype(name: str) -> GenotypeEntry:
    """Return a published genotype; raises as ``Registry.genotype`` does."""
    return default_registry().genotype(name)


def describe(name: str, kind: Kind | None = None) -> dict[Kind, dict[str, Any]]:
    """Return all there is to know of a name, every option included, as ``Registry.describe`` does."""
    return default_registry().describe(name, kind)


def register(*things: Entry | ModuleType) -> None:
    """Add entries or plugin modules in this process, as ``Registry.register`` does."""
    default_registry().register(*things)


def _unresolved(kind: Kind, entry: Entry) -> Iterator[str]:
    if isinstance(entry, GenotypeEntry):
        from nasreg.specs.genotype import parse_genotype

        try:
            parse_genotype(entry.genotype, f"{TITLES[kind]} {entry.name!r}")
        except ArchitectureError as error:
            yield str(error)
        return
    components: tuple[Component, ...]
    components = (entry.mutator, entry.trainer) if isinstance(entry, AlgorithmSpec) else (entry.component,)
    for component in components:
        for load in (component.load_factory, component.load_config):
            try:
                with printing_aside():
                    load()
            except PluginError as error:
                yield f"{TITLES[kind]} {entry.name!r}: {' '.join(str(error).split())}"


def _owned(names: _Names, record: PluginRecord) -> list[str]:
    return sorted(name for name, (_, owner) in names.entries.items() if _same(owner, record))


def _clashes(names: dict[Kind, _Names], record: PluginRecord) -> Iterator[str]:
    for kind in KINDS:
        for name, owners in sorted(names[kind].contested.items()):
            if any(_same(owner, record) for owner in owners):
                others = " and ".join(owner.origin for owner in owners if not _same(owner, record))
                yield f"{TITLES[kind]} {name!r} is claimed by {others} too"


def _same(one: PluginRecord, other: PluginRecord) -> bool:
    return (one.name, one.distribution) == (other.name, other.distribution)
