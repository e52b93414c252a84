"""Loads each plugin by itself: what one does wrong is recorded and affects no other.

The entries of a plugin are taken as a whole or not at all. Imports no torch, unless a plugin does.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import itertools
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pluggy

from nasreg import hookspecs
from nasreg.errors import PluginError, did_you_mean
from nasreg.registry.records import KINDS, TITLES, Entry, PluginRecord, kind_of, name_of
from nasreg.specs.entries import Kind, RenamedEntry
from nasreg.specs.plugin import OLDEST_PLUGIN_API, PLUGIN_API, PluginInfo
from nasreg.specs.version import __version__

MAX_ENTRIES = 10_000
"""A hook that returns more than this is taken to be broken: it may never end."""

SLOW = 1.0
"""Seconds of loading from which on ``nasreg plugins`` mentions them."""

_HOOKS: dict[str, type[Entry | RenamedEntry]] = {
    **{f"nasreg_{kind}s": cls for kind, cls in KINDS.items()},
    "nasreg_renamed": RenamedEntry,
}


def printing_aside() -> contextlib.AbstractContextManager[object]:
    """Return a context in which what a plugin prints goes to stderr, so that it does not get into ``--json``."""
    return contextlib.redirect_stdout(sys.stderr)


def load_plugin(
    record: PluginRecord, load: Callable[[], Any], core: Iterable[tuple[Kind, str]]
) -> tuple[PluginRecord, list[Entry | RenamedEntry]]:
    """Load one plugin. Returns whatever the plugin does, except that an interruption by the user is raised.

    Args:
        record: The plugin.
        load: Imports the plugin module.
        core: Kinds and names that belong to nasreg itself.

    Returns:
        The record of what became of it, and its entries: all of them, or none if anything is wrong.
    """
    began = time.perf_counter()
    entries: list[Entry | RenamedEntry] = []
    try:
        with printing_aside():
            plugin = load()
            record = replace(record, file=_file(plugin))
            info, found = collect(plugin, record.name)
        _check_not_core(found, set(core))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # sys.exit and a panic in Rust are no Exception
        text = "".join(traceback.format_exception(error))
        file = record.file or _file_of(record.module)
        record = replace(record, status="failed", error=_root_cause(error), traceback=text, file=file)
    else:
        entries = found
        summary, homepage = info.summary or record.summary, info.homepage or record.homepage
        record = replace(record, api=info.api, summary=summary, homepage=homepage)
    return replace(record, seconds=time.perf_counter() - began), entries


def collect(plugin: Any, name: str) -> tuple[PluginInfo, list[Entry | RenamedEntry]]:
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
    callers = {caller.name: caller for caller in manager.get_hookcallers(plugin) or []}
    known = {"nasreg_plugin", *_HOOKS}
    if not callers:
        raise PluginError(
            f"no function is marked with @nasreg.hookspecs.hookimpl; the hooks are {', '.join(sorted(known))}"
        )
    for caller in callers.values():
        if caller.name not in known and not all(each.optionalhook for each in caller.get_hookimpls()):
            raise PluginError(f"there is no hook {caller.name!r}.{did_you_mean(caller.name, known)}")
    # The version comes first: the entries of a plugin for another contract may raise anything.
    stated = callers["nasreg_plugin"]() if "nasreg_plugin" in callers else []
    info = stated[0] if stated else None
    if not isinstance(info, PluginInfo):
        what = (
            f"nasreg_plugin returned {type(info).__name__}" if "nasreg_plugin" in callers else "no hook nasreg_plugin"
        )
        raise PluginError(
            f"the plugin states no version of the plugin contract ({what}): upgrade the plugin, or let its hook"
            f" nasreg_plugin return PluginInfo(api={PLUGIN_API})"
        )
    check_api(info.api)
    entries = [entry for hook, cls in _HOOKS.items() if hook in callers for entry in _entries(hook, callers[hook], cls)]
    check(entries)
    return info, entries


def check_api(api: int, oldest: int = OLDEST_PLUGIN_API, newest: int = PLUGIN_API) -> None:
    """Check that nasreg supports the version of the contract that a plugin was written for.

    Raises:
        PluginError: It is too old or too new; says which of the two sides to upgrade.
    """
    if not oldest <= api <= newest:
        supported = str(newest) if oldest == newest else f"{oldest} to {newest}"
        raise PluginError(
            f"the plugin was written for version {api} of the plugin contract, but nasreg {__version__} supports"
            f" {supported}: upgrade {'nasreg' if api > newest else 'the plugin'}"
        )


def check(entries: Iterable[Entry | RenamedEntry]) -> None:
    """Check what concerns several entries: that no name is there twice, and that new names exist.

    Raises:
        PluginError: It is wrong.
    """
    seen: dict[tuple[Kind, str], Entry | RenamedEntry] = {}
    for entry in entries:
        key = (kind_of(entry), name_of(entry))
        if key in seen:
            renamed = next((each for each in (entry, seen[key]) if isinstance(each, RenamedEntry)), None)
            why = f"cannot be renamed to {renamed.new!r}: it still exists" if renamed else "is there twice"
            raise PluginError(f"{TITLES[key[0]]} {key[1]!r} {why}")
        seen[key] = entry
    for (kind, old), entry in seen.items():
        if isinstance(entry, RenamedEntry) and isinstance(seen.get((kind, entry.new)), RenamedEntry | None):
            raise PluginError(f"{TITLES[kind]} {old!r} is renamed to {entry.new!r}, which the plugin does not provide")


def _entries(hook: str, caller: Any, expected: type[Entry | RenamedEntry]) -> list[Entry | RenamedEntry]:
    returned = caller()
    if not returned or isinstance(returned[0], expected) or not isinstance(returned[0], Iterable):
        what = type(returned[0]).__name__ if returned else "None"
        raise PluginError(f"{hook} must return a list of {expected.__name__}, but it returned {what}")
    entries: list[Entry | RenamedEntry] = []
    for entry in itertools.islice(returned[0], MAX_ENTRIES + 1):
        if not isinstance(entry, expected):
            raise PluginError(f"{hook} must return a list of {expected.__name__}; {entry!r} is none")
        entries.append(entry)
    if len(entries) > MAX_ENTRIES:
        raise PluginError(f"{hook} returned more than {MAX_ENTRIES} entries")
    return entries


def _check_not_core(entries: Iterable[Entry | RenamedEntry], core: set[tuple[Kind, str]]) -> None:
    for entry in entries:
        kind, name = kind_of(entry), name_of(entry)
        if (kind, name) in core:
            raise PluginError(f"{TITLES[kind]} {name!r} belongs to nasreg itself: choose another name")


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
    """Return the first line of the error that all others followed from."""
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
