"""The registry: entries of all kinds by name, from plugins and from this process.

Imports no torch; plugins are discovered at the first look-up.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from types import ModuleType
from typing import Any, cast

from nasreg.errors import ArchitectureError, PluginError, UnknownNameError, did_you_mean
from nasreg.registry.catalog import Catalog, Claim
from nasreg.registry.discovery import check, collect, load_plugin, printing_aside
from nasreg.registry.distributions import import_plugin, installed_plugins
from nasreg.registry.known_packages import baseline_algorithm, default_algorithm
from nasreg.registry.records import CORE, IN_PROCESS, KINDS, TITLES, Entry, PluginRecord, kind_of, name_of, normalize
from nasreg.registry.selection import left_out
from nasreg.specs.algorithm import AlgorithmSpec, Family
from nasreg.specs.base import resolve
from nasreg.specs.entries import (
    Component,
    DatasetEntry,
    EvaluatorSpec,
    ExecutorEntry,
    GenotypeEntry,
    Kind,
    RecipeEntry,
    RenamedEntry,
    SpaceEntry,
)
from nasreg.specs.notation import Notation
from nasreg.specs.version import __version__

CORE_PLUGIN = "nasreg.engine.builtins"
"""The core's own plugin module. It is loaded by name, since what it provides lies above the registry."""

_IN_PROCESS = PluginRecord(IN_PROCESS, None, None)


class Registry:
    """Algorithms, search spaces, data sets, evaluators, executors, published genotypes and recipes by name.

    Wherever a name is taken, ``distribution/name`` is taken too: it names an entry whatever else is installed.

    Args:
        entry_points: Whether to look for installed plugins. The core's own entries are there in any case.
    """

    def __init__(self, entry_points: bool = True) -> None:
        self._entry_points = entry_points
        self._catalog: Catalog | None = None

    @property
    def default_algorithm(self) -> str:
        """The algorithm of a search that names none."""
        return default_algorithm()

    @property
    def baseline_algorithm(self) -> str:
        """The algorithm that every study includes, unless the user does without it: random search."""
        return baseline_algorithm()

    # -- looking up ----------------------------------------------------------------------------------------------------

    def algorithm(self, name: str) -> AlgorithmSpec:
        """Return an algorithm.

        Raises:
            UnknownNameError: There is none of that name.
            PluginError: Two plugins claim the name.
            ConfigError: NASREG_PLUGINS names a plugin that is not installed. So do all look-ups.
        """
        return cast("AlgorithmSpec", self._find("algorithm", name).entry)

    def space(self, name: str) -> SpaceEntry:
        """Return a search space; raises as ``algorithm`` does."""
        return cast("SpaceEntry", self._find("space", name).entry)

    def dataset(self, name: str) -> DatasetEntry:
        """Return a data set; raises as ``algorithm`` does."""
        return cast("DatasetEntry", self._find("dataset", name).entry)

    def evaluator(self, name: str) -> EvaluatorSpec:
        """Return an evaluator; raises as ``algorithm`` does."""
        return cast("EvaluatorSpec", self._find("evaluator", name).entry)

    def executor(self, name: str) -> ExecutorEntry:
        """Return an executor; raises as ``algorithm`` does."""
        return cast("ExecutorEntry", self._find("executor", name).entry)

    def genotype(self, name: str) -> GenotypeEntry:
        """Return a published genotype; raises as ``algorithm`` does."""
        return cast("GenotypeEntry", self._find("genotype", name).entry)

    def recipe(self, name: str) -> RecipeEntry:
        """Return a recipe; raises as ``algorithm`` does."""
        return cast("RecipeEntry", self._find("recipe", name).entry)

    def algorithms(self, family: Family | None = None, pattern: str | None = None) -> list[str]:
        """Return the sorted names of the algorithms.

        Args:
            family: Only those of this family.
            pattern: Only names that match it, with the wildcards of a shell: ``"pc*"``.
        """
        names = self.names("algorithm", pattern)
        return names if family is None else [name for name in names if self.algorithm(name).family == family]

    def spaces(self, pattern: str | None = None) -> list[str]:
        """Return the sorted names of the search spaces; takes a pattern as ``algorithms`` does."""
        return self.names("space", pattern)

    def datasets(self, pattern: str | None = None) -> list[str]:
        """Return the sorted names of the data sets; takes a pattern as ``algorithms`` does."""
        return self.names("dataset", pattern)

    def evaluators(self, pattern: str | None = None) -> list[str]:
        """Return the sorted names of the evaluators; takes a pattern as ``algorithms`` does."""
        return self.names("evaluator", pattern)

    def executors(self, pattern: str | None = None) -> list[str]:
        """Return the sorted names of the executors; takes a pattern as ``algorithms`` does."""
        return self.names("executor", pattern)

    def genotypes(self, pattern: str | None = None) -> list[str]:
        """Return the sorted names of the published genotypes; takes a pattern as ``algorithms`` does."""
        return self.names("genotype", pattern)

    def recipes(self, pattern: str | None = None) -> list[str]:
        """Return the sorted names of the recipes; takes a pattern as ``algorithms`` does."""
        return self.names("recipe", pattern)

    def names(self, kind: Kind, pattern: str | None = None) -> list[str]:
        """Return the sorted names of one kind; takes a pattern as ``algorithms`` does."""
        names = self._discovered().names(kind)
        return names if pattern is None else [name for name in names if fnmatchcase(name.lower(), pattern.lower())]

    def entry(self, kind: Kind, name: str) -> Entry:
        """Return an entry of any kind; raises as ``algorithm`` does."""
        return self._find(kind, name).entry

    def qualified(self, kind: Kind, name: str) -> str:
        """Return ``distribution/name`` of an entry, to record it; the plain name where it belongs to this process only.

        Raises:
            UnknownNameError: There is none of that name.
            PluginError: Two plugins claim the name.
        """
        return self._find(kind, name).qualified

    def plugins(self) -> list[PluginRecord]:
        """Return the state of each plugin: the core, then those installed, then what was registered in process."""
        catalog = self._discovered()
        provided, clashes = catalog.provided(), catalog.clashes()
        records = []
        for record in catalog.records:
            mine = provided.get(record.key, {})
            names: dict[str, Any] = {f"{kind}s": tuple(mine.get(kind, ())) for kind in KINDS}
            records.append(replace(record, clashes=tuple(clashes.get(record.key, ())), **names))
        return records

    def check(self) -> dict[str, list[str]]:
        """Import every factory and every config class, which look-ups do not.

        Returns:
            ``PluginRecord.origin`` -> what is wrong with it, one line each; what failed to load and clashes included.
        """
        problems: dict[str, list[str]] = {}
        spaces = [self._find("space", name).entry for name in self.names("space")]
        notations = [each.notation for each in spaces if isinstance(each, SpaceEntry) and each.notation is not None]
        for record in self.plugins():
            found = [record.error] if record.error else []
            found += record.clashes
            for kind in KINDS:
                for name in getattr(record, f"{kind}s"):
                    found += _unresolved(kind, self._find(kind, name).entry, notations)
            if found:
                problems.setdefault(record.origin, []).extend(found)
        return problems

    def describe(self, name: str, kind: Kind | None = None) -> dict[Kind, dict[str, Any]]:
        """Return all there is to know of a name, as JSON-able data.

        Args:
            name: Name of an entry; it may be of several kinds at once.
            kind: Only that kind.

        Returns:
            Kind -> description, with every option: its type, default, constraints and meaning.

        Raises:
            UnknownNameError: There is nothing of that name.
            PluginError: Two plugins claim the name, or its options cannot be loaded.
        """
        from nasreg.registry.descriptions import describe_entry

        catalog = self._discovered()
        kinds = [kind] if kind else [each for each in KINDS if catalog.owners(each, name.rpartition("/")[2])]
        claims = {each: catalog.find(each, name) if kind is None else self._find(each, name) for each in kinds}
        described: dict[Kind, dict[str, Any]] = {}
        for each, claim in claims.items():
            if claim is None:
                continue
            with printing_aside():
                options = describe_entry(claim.entry)
            plugin = claim.plugin
            described[each] = {
                **options,
                "qualified": claim.qualified,
                "plugin": plugin.name,
                "distribution": plugin.distribution,
                "version": plugin.version,
                "plugin_summary": plugin.summary,
                "homepage": plugin.homepage,
            }
        if not described:
            raise UnknownNameError(f"nothing is called {name!r}.{self._hint(name, *KINDS)}{self._not_loaded()}")
        return described

    def _find(self, kind: Kind, name: str) -> Claim:
        catalog = self._discovered()
        claim = catalog.find(kind, name)
        if claim is None:
            others = " and ".join(f"a {TITLES[each]}" for each in KINDS if name in catalog.names(each))
            aside = f" (it is {others})" if others else ""
            hint = self._hint(name, kind)
            raise UnknownNameError(f"there is no {TITLES[kind]} {name!r}{aside}.{hint}{self._not_loaded()}")
        return claim

    def _hint(self, name: str, *kinds: Kind) -> str:
        """Return a hint for a name that was not found: a similar name, or a package to install."""
        from nasreg.registry.known_packages import install_hint

        catalog = self._discovered()
        installed = {normalize(record.distribution) for record in catalog.records if record.distribution}
        distribution, _, plain = name.rpartition("/")
        near = did_you_mean(plain, {known for kind in kinds for known in catalog.names(kind)})
        if "Did you mean" in near and not distribution:
            return near
        for kind in kinds:
            if hint := install_hint(kind, plain, installed):
                return hint
        if distribution and normalize(distribution) not in installed:
            return f" The distribution {distribution!r} is not installed."
        return near

    def _not_loaded(self) -> str:
        """Return a sentence with the plugins that might have had a name that was not found."""
        records = self._discovered().records
        failed = [record.origin for record in records if record.status == "failed"]
        disabled = [record.origin for record in records if record.status == "disabled"]
        text = f" Not loaded: {', '.join(failed)}; see why with: nasreg plugins --traceback." if failed else ""
        return text + (f" Disabled by NASREG_PLUGINS or NASREG_DISABLE: {', '.join(disabled)}." if disabled else "")

    # -- registering in process ----------------------------------------------------------------------------------------

    def register(self, *things: Entry | RenamedEntry | ModuleType) -> None:
        """Add entries, or all that a plugin module's hooks return, in this process only; all of them or none.

        Raises:
            PluginError: A name is taken, a plugin module breaks the contract, or a thing is neither entry nor module.
        """
        catalog = self._discovered()
        entries: list[Entry | RenamedEntry] = []
        for thing in things:
            if isinstance(thing, ModuleType):
                entries += collect(thing, IN_PROCESS)[1]
            elif isinstance(thing, (*KINDS.values(), RenamedEntry)):
                entries.append(thing)
            else:
                expected = ", ".join(cls.__name__ for cls in KINDS.values())
                raise PluginError(f"cannot register {thing!r}: expected one of {expected}, or a plugin module")
        check(entries)
        for entry in entries:
            kind, name = kind_of(entry), name_of(entry)
            if owners := catalog.owners(kind, name):
                origin = " and ".join(owner.origin for owner in owners)
                raise PluginError(f"{TITLES[kind]} {name!r} is already registered by {origin}")
        self._add(catalog, _IN_PROCESS, entries)

    def unregister(self, *names: str) -> None:
        """Remove what ``register`` added under these names, so that a notebook's cell can be run again; all or none.

        Raises:
            UnknownNameError: ``register`` added no such name.
        """
        catalog = self._discovered()
        mine = {name_of(entry) for entry in catalog.claimed(_IN_PROCESS)}
        for name in names:
            if name not in mine:
                raise UnknownNameError(f"{name!r} was not registered in this process")
        for name in names:
            catalog.remove(_IN_PROCESS, name)

    # -- discovery -----------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Look for plugins again: newly installed ones appear, uninstalled ones go, what ``register`` added stays.

        The code of a plugin that was loaded before stays as it was imported, as does that of an editable installation
        made while the process runs: both need a new process. A plugin that failed is imported again.

        Raises:
            ConfigError: NASREG_PLUGINS names a plugin that is not installed; then the registry stays as it was.
        """
        importlib.invalidate_caches()
        before = self._catalog
        if before is None:
            return  # the first look-up will find what there is
        for record in before.records:
            if record.status == "failed" and record.module:
                sys.modules.pop(record.module, None)
        try:
            self._catalog = None
            self._add(self._discovered(), _IN_PROCESS, list(before.claimed(_IN_PROCESS)))
        except BaseException:
            self._catalog = before
            raise

    def _discovered(self) -> Catalog:
        catalog = self._catalog
        if catalog is None:
            found = installed_plugins() if self._entry_points else []
            disabled = left_out(found)  # raises before anything is loaded or kept
            catalog = self._catalog = Catalog()  # now: a plugin may look things up on its own
            try:
                core = PluginRecord(CORE, CORE, __version__, module=CORE_PLUGIN)
                self._load(catalog, core)
                core_names = [(kind_of(entry), name_of(entry)) for entry in catalog.claimed(core)]
                for record in found:
                    if record in disabled:
                        catalog.records.append(replace(record, status="disabled", error=None))
                    elif record.status == "failed":
                        catalog.records.append(record)
                    else:
                        self._load(catalog, record, core_names)
            except KeyboardInterrupt:  # the next look-up starts again, or it would miss the rest
                self._catalog = None
                raise
        return catalog

    @staticmethod
    def _load(catalog: Catalog, record: PluginRecord, core: Collection[tuple[Kind, str]] = ()) -> None:
        record, entries = load_plugin(record, functools.partial(import_plugin, record), core)
        catalog.records.append(record)
        for entry in entries:
            catalog.add(entry, record)

    @staticmethod
    def _add(catalog: Catalog, record: PluginRecord, entries: list[Entry | RenamedEntry]) -> None:
        for entry in entries:
            catalog.add(entry, record)
        if entries and record not in catalog.records:
            catalog.records.append(record)


def _unresolved(kind: Kind, entry: Entry, notations: Sequence[Notation]) -> Iterator[str]:
    """Yield what cannot be imported, or read, of what an entry names.

    Args:
        kind: The kind of the entry.
        entry: The entry.
        notations: Those of all spaces: a genotype in one of them can only be read with its space.
    """
    if isinstance(entry, RecipeEntry):
        return
    if isinstance(entry, GenotypeEntry) and any(notation.matches(entry.genotype) for notation in notations):
        return
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
    references = entry.references if isinstance(entry, SpaceEntry) else ()
    for reference in references:
        try:
            with printing_aside():
                resolve(reference, f"{TITLES[kind]} {entry.name!r}")
        except PluginError as error:
            yield " ".join(str(error).split())
