"""Finds plugins by entry point and loads each by itself: what one does wrong is recorded and harms no other.

What a plugin returns is taken wholly or not at all. Imports no torch, unless a plugin does.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import inspect
import itertools
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import pluggy

import nasreg
from nasreg import hookspecs
from nasreg.errors import ConfigError, PluginError, did_you_mean
from nasreg.specs.algorithm import PLUGIN_API, AlgorithmSpec, DatasetEntry, GenotypeEntry, SpaceEntry

ENTRY_POINT_GROUP = "nasreg"
CORE = "nasreg"
IN_PROCESS = "(in process)"
MOST_ENTRIES = 10_000
"""A hook that returns more than this is taken to be broken; it may never end."""

SLOW = 1.0
"""Seconds of loading from which on ``nasreg plugins`` speaks of them."""

Kind = Literal["algorithm", "space", "dataset", "genotype"]
Entry = AlgorithmSpec | SpaceEntry | DatasetEntry | GenotypeEntry

KINDS: dict[Kind, type[Entry]] = {
    "algorithm": AlgorithmSpec,
    "space": SpaceEntry,
    "dataset": DatasetEntry,
    "genotype": GenotypeEntry,
}
TITLES: dict[Kind, str] = {
    "algorithm": "algorithm",
    "space": "search space",
    "dataset": "data set",
    "genotype": "genotype",
}


@dataclass(frozen=True)
class PluginRecord:
    """What became of one plugin."""

    name: str
    """Name of the entry point; ``nasreg`` is the core itself, ``(in process)`` is what ``register`` was given."""
    distribution: str | None
    version: str | None
    status: Literal["ok", "failed", "disabled"] = "ok"
    module: str | None = None
    """Name of the plugin module."""
    file: str | None = None
    """File of the plugin module, where it is known."""
    seconds: float = 0.0
    """How long it took to load."""
    error: str | None = None
    """The root cause, in one line."""
    traceback: str | None = None
    algorithms: tuple[str, ...] = ()
    spaces: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    genotypes: tuple[str, ...] = ()
    clashes: tuple[str, ...] = ()
    """Names that another plugin claims too, one line each; nobody has them."""

    @property
    def origin(self) -> str:
        """Who it is, for a message."""
        return f"plugin {self.name!r} ({self.distribution} {self.version})" if self.distribution else "this process"


def kind_of(entry: Entry) -> Kind:
    """Return which kind of thing an entry is."""
    return next(kind for kind, cls in KINDS.items() if isinstance(entry, cls))


def printing_aside() -> contextlib.AbstractContextManager[object]:
    """Return a context in which what a plugin prints goes to stderr: it must not get into ``--json``."""
    return contextlib.redirect_stdout(sys.stderr)


def load_plugin(
    record: PluginRecord, load: Callable[[], Any], core: Iterable[tuple[Kind, str]]
) -> tuple[PluginRecord, list[Entry]]:
    """Load one plugin; whatever it does, this returns.

    Args:
        record: Who it is.
        load: Imports the plugin module.
        core: Kinds and names that belong to nasreg itself.

    Returns:
        The record of what became of it, and its entries: all of them, or none if anything is wrong.
    """
    began = time.perf_counter()
    try:
        with printing_aside():
            plugin = load()
            record = replace(record, file=_file(plugin))
            entries = collect(plugin, record.name)
        _check_not_core(entries, set(core))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # sys.exit and a panic in Rust are no Exception; the others go on
        text = "".join(traceback.format_exception(error))
        file = record.file or _file_of(record.module)
        record = replace(record, status="failed", error=_root_cause(error), traceback=text, file=file)
        entries = []
    return replace(record, seconds=time.perf_counter() - began), entries


def installed() -> Iterator[tuple[PluginRecord, importlib.metadata.EntryPoint]]:
    """Find the entry points, in an order that does not depend on the file system; the same one found twice is one."""
    seen: dict[tuple[str, str], tuple[PluginRecord, importlib.metadata.EntryPoint]] = {}
    for entry_point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        # Each access to the name or version of a distribution would parse its metadata anew.
        metadata = entry_point.dist.metadata if entry_point.dist else {"Name": "unknown", "Version": "unknown"}
        distribution, version = metadata["Name"], metadata["Version"]
        key = (_normal(distribution), entry_point.name)
        seen.setdefault(
            key, (PluginRecord(entry_point.name, distribution, version, module=entry_point.module), entry_point)
        )
    return (seen[key] for key in sorted(seen))


def disabled(found: Iterable[tuple[PluginRecord, object]]) -> set[PluginRecord]:
    """Return the plugins that NASREG_PLUGINS leaves out or NASREG_DISABLE names, by entry point or distribution.

    Raises:
        ConfigError: One of them names what is not installed.
    """
    names = {record: {_normal(record.name), _normal(record.distribution or "")} for record, _ in found}
    listed: dict[str, set[PluginRecord]] = {"NASREG_PLUGINS": set(), "NASREG_DISABLE": set()}
    for variable in listed:
        words = {word.strip() for word in os.environ.get(variable, "").split(",")} - {""}
        for word in sorted(words):
            named = {record for record in names if _normal(word) in names[record]}
            if not named:
                hint = did_you_mean(word, set().union(*names.values()))
                raise ConfigError(f"{variable} names {word!r}, which is no installed plugin.{hint}")
            listed[variable] |= named
    allowed = listed["NASREG_PLUGINS"] if "NASREG_PLUGINS" in os.environ else set(names)
    return (set(names) - allowed) | listed["NASREG_DISABLE"]


def collect(plugin: Any, name: str) -> list[Entry]:
    """Call each hook of one plugin module and check what it returns. What the hooks raise is not caught.

    Args:
        plugin: The module.
        name: What to call it.

    Raises:
        PluginError: It breaks the contract.
    """
    manager = pluggy.PluginManager("nasreg")
    manager.add_hookspecs(hookspecs)
    manager.register(plugin, name=name)
    callers = manager.get_hookcallers(plugin) or []
    hooks = {f"nasreg_{kind}s": cls for kind, cls in KINDS.items()}
    if not callers:
        raise PluginError(f"no function is marked with @nasreg.hookspecs.hookimpl; the hooks are {', '.join(hooks)}")
    entries: list[Entry] = []
    for caller in callers:
        if not caller.has_spec():
            if all(implementation.optionalhook for implementation in caller.get_hookimpls()):
                continue
            raise PluginError(f"there is no hook {caller.name!r}.{did_you_mean(caller.name, hooks)}")
        expected = hooks[caller.name]
        returned = caller()
        if not returned or isinstance(returned[0], expected) or not isinstance(returned[0], Iterable):
            what = type(returned[0]).__name__ if returned else "None"
            raise PluginError(f"{caller.name} must return a list of {expected.__name__}, but it returned {what}")
        for entry in itertools.islice(returned[0], MOST_ENTRIES + 1):
            if not isinstance(entry, expected):
                raise PluginError(f"{caller.name} must return a list of {expected.__name__}; {entry!r} is none")
            entries.append(entry)
        if len(entries) > MOST_ENTRIES:
            raise PluginError(f"{caller.name} returned more than {MOST_ENTRIES} entries")
    check(entries)
    return entries


def check(entries: Iterable[Entry]) -> None:
    """Check what pydantic cannot: the version of the contract, and that no name is there twice.

    Raises:
        PluginError: It is wrong.
    """
    seen: set[tuple[Kind, str]] = set()
    for entry in entries:
        kind = kind_of(entry)
        if (kind, entry.name) in seen:
            raise PluginError(f"{TITLES[kind]} {entry.name!r} is there twice")
        seen.add((kind, entry.name))
        if isinstance(entry, AlgorithmSpec) and entry.plugin_api != PLUGIN_API:
            older = "nasreg" if entry.plugin_api > PLUGIN_API else "the plugin"
            raise PluginError(
                f"algorithm {entry.name!r} was written for plugin_api {entry.plugin_api}, but nasreg"
                f" {nasreg.__version__} has {PLUGIN_API}: upgrade {older}"
            )


def _check_not_core(entries: Iterable[Entry], core: set[tuple[Kind, str]]) -> None:
    for entry in entries:
        kind = kind_of(entry)
        if (kind, entry.name) in core:
            raise PluginError(f"{TITLES[kind]} {entry.name!r} belongs to nasreg itself: choose another name")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _file(plugin: object) -> str | None:
    try:
        return inspect.getfile(plugin)  # type: ignore[arg-type]  # anything but a module or class raises TypeError
    except TypeError:
        return None


def _file_of(module: str | None) -> str | None:
    """Find the file of a module that cannot be imported."""
    with contextlib.suppress(Exception):  # the package around it may be broken too
        spec = importlib.util.find_spec(module) if module else None
        return spec.origin if spec else None
    return None


def _root_cause(error: BaseException) -> str:
    """Return the first line of what everything began with."""
    seen: set[int] = set()  # "raise error from error" is its own cause
    while (cause := error.__cause__ or (None if error.__suppress_context__ else error.__context__)) is not None:
        if id(cause) in seen:
            break
        seen.add(id(cause))
        error = cause
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001  # an error of a plugin's own class may fail even here
        text = "(its message cannot be shown)"
    return text if isinstance(error, PluginError) else f"{type(error).__name__}: {text}".removesuffix(": ")
