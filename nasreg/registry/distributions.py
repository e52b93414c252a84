"""Finds entry points of the group ``nasreg`` in the installed distributions, each of which is read by itself.

``importlib.metadata.entry_points`` parses the entry points of all distributions in one go, so that a single invalid
line in any package, even in one that has nothing to do with nasreg, stops everything. Here each ``entry_points.txt`` is
read as bytes and by line: an invalid line of the group makes the record of a failed plugin, the rest is ignored.
"""

from __future__ import annotations

import codecs
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from nasreg.registry.records import PluginRecord, normalize

ENTRY_POINT_GROUP = "nasreg"

_OBJECT = re.compile(r"(?P<module>[^\s:\[\]]+)\s*(?::\s*(?P<attribute>[^\s:\[\]]+)\s*)?(?:\[[^\]]*\])?")


def installed_plugins() -> list[PluginRecord]:
    """Return a record of each entry point on ``sys.path``, not loaded yet, in an order that no file system decides.

    Those that cannot be loaded have failed already. Where several folders have a distribution the first one counts, as
    for an import. Where one folder has several versions of it, left behind by an interrupted upgrade, the newest counts
    and the others have failed.
    """
    first: dict[str, tuple[str, list[PluginRecord]]] = {}
    for path in _metadata_folders():
        if found := _read(path):
            parent, plugins = first.setdefault(normalize(found[0].distribution or ""), (str(path.parent), []))
            if parent == str(path.parent):
                plugins += found
    kept = [plugin for _, plugins in first.values() for plugin in _newest(plugins)]
    return sorted(kept, key=lambda plugin: (normalize(plugin.distribution or ""), plugin.name, plugin.metadata or ""))


def import_plugin(plugin: PluginRecord) -> Any:
    """Import a plugin module and return it, or the object in it that the entry point names.

    Raises:
        ImportError: There is no such module.
        AttributeError: There is no such object in it.
    """
    module, _, attribute = (plugin.module or "").partition(":")
    found: Any = importlib.import_module(module)
    for name in filter(None, attribute.split(".")):
        found = getattr(found, name)
    return found


def _newest(plugins: list[PluginRecord]) -> Iterator[PluginRecord]:
    newest = max(plugins, key=_age)
    for plugin in plugins:
        if plugin.metadata == newest.metadata:
            yield plugin
        else:
            problem = f"version {newest.version} is in the same folder, too: reinstall {plugin.distribution}"
            yield plugin if plugin.error else _failed(plugin, problem)


def _age(plugin: PluginRecord) -> tuple[bool, list[tuple[int, str]]]:
    """Return a key that is the greater the newer a distribution is; one that is broken is older than any other."""
    order = {"dev": -2, "post": 0}  # a word comes before the end of a version, (0, ""), unless it is "post"
    parts = re.findall(r"\d+|[a-z]+", (plugin.version or "").lower())
    numbers = [(int(part), "") if part.isdigit() else (order.get(part, -1), part) for part in parts]
    return plugin.error is None, [*numbers, (0, "")]


def _metadata_folders() -> Iterator[Any]:
    """Yield the path of each distribution's metadata, a ``pathlib.Path`` or one into an archive; each of them once."""
    seen = set()
    for entry in dict.fromkeys(sys.path):
        context = importlib.metadata.DistributionFinder.Context(path=[entry])
        for finder in sys.meta_path:
            try:
                found = finder.find_distributions(context) if hasattr(finder, "find_distributions") else ()
                paths = [getattr(distribution, "_path", None) for distribution in found]
            except Exception:  # noqa: BLE001, S112  # a folder or an archive that cannot be read, another tool's finder
                continue
            for path in paths:
                # pip renames what it is about to remove to "~...", which stays where pip was stopped
                if path is not None and str(path) not in seen and not path.name.startswith("~"):
                    seen.add(str(path))
                    yield path


def _read(path: Any) -> list[PluginRecord]:
    """Read the entry points of one distribution; return none where it has none of the group."""
    try:
        content = (path / "entry_points.txt").read_bytes()
    except (FileNotFoundError, NotADirectoryError, KeyError):  # most have no such file, and some are a file themselves
        return []
    except Exception as error:  # noqa: BLE001  # nobody can say whether it is a plugin: shown, so that nothing is missed
        reason = getattr(error, "strerror", None) or error
        return [_failed(_unnamed(path), f"its entry_points.txt cannot be read: {reason}")]
    text = _decode(content)
    if ENTRY_POINT_GROUP not in text:
        return []
    lines = list(_group_lines(text))
    if not lines:
        return []
    about = _about(path)
    found = (_entry_point(about, *line) for line in lines)
    return [_failed(plugin, about.error) if about.error else plugin for plugin in found]


def _decode(content: bytes) -> str:
    """Decode a file of metadata whatever it is: bytes that are no UTF-8 matter only in the lines that have them."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # what a Windows shell writes
        return content.decode("utf-16", errors="replace")
    return content.decode("utf-8-sig", errors="replace")


def _group_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of the group with their numbers."""
    group = None
    for number, line in enumerate(text.splitlines(), 1):
        content = line.strip()
        if content.startswith("[") and content.endswith("]"):
            group = content[1:-1].strip()
        elif group == ENTRY_POINT_GROUP and content and not content.startswith(("#", ";")):
            yield number, content


def _entry_point(about: PluginRecord, number: int, line: str) -> PluginRecord:
    name, equals, value = (part.strip() for part in line.partition("="))
    if not equals or not name or not name.isprintable() or set(name) & set(",/\ufffd"):
        return _failed(about, f"line {number} of its entry_points.txt is no entry point: {line!r}")
    match = _OBJECT.fullmatch(value)
    module, attribute = (match["module"], match["attribute"] or "") if match else ("", "")
    if not all(part.isidentifier() for part in [*module.split("."), *(attribute.split(".") if attribute else ())]):
        problem = f"the entry point {name!r} has the invalid value {value!r}: expected 'package.module'"
        return _failed(replace(about, name=name), problem)
    return replace(about, name=name, module=f"{module}:{attribute}" if attribute else module)


def _about(path: Any) -> PluginRecord:
    """Return the record of a distribution from its metadata; failed if they are incomplete."""
    unnamed = _unnamed(path)
    for file in ("METADATA", "PKG-INFO"):
        try:
            headers = _headers(_decode((path / file).read_bytes()))
        except (FileNotFoundError, NotADirectoryError, KeyError):
            continue
        except Exception as error:  # noqa: BLE001
            return _failed(unnamed, f"its {file} cannot be read: {getattr(error, 'strerror', None) or error}")
        name, version = (headers.get(header, [""])[0] for header in ("name", "version"))
        about = replace(
            unnamed,
            distribution=name or unnamed.distribution,
            version=version or unnamed.version,
            summary=headers.get("summary", [None])[0],
            homepage=_homepage(headers),
        )
        missing = " and no ".join(label for label, value in (("Name", name), ("Version", version)) if not value)
        return _failed(about, f"its {file} has no {missing}: reinstall {about.distribution}") if missing else about
    return _failed(unnamed, f"it has no METADATA: reinstall {unnamed.distribution}")


def _failed(plugin: PluginRecord, problem: str) -> PluginRecord:
    return replace(plugin, status="failed", error=problem)


def _headers(text: str) -> dict[str, list[str]]:
    """Return the headers of a METADATA file by lower-case name; what follows the first empty line is the readme."""
    headers: dict[str, list[str]] = {}
    last: list[str] = []
    for line in text.splitlines():
        if not line.strip():
            break
        name, colon, value = line.partition(":")
        if line[0].isspace():
            last[-1:] = [f"{word} {line.strip()}" for word in last[-1:]]
        elif colon:
            last = headers.setdefault(name.strip().lower(), [])
            last.append(value.strip())
    return {name: found for name, values in headers.items() if (found := [value for value in values if value])}


def _homepage(headers: dict[str, list[str]]) -> str | None:
    """Return Home-page, else the project URL that is named so, else the first one."""
    urls = {}
    for header in headers.get("project-url", []):
        label, _, url = header.partition(",")
        urls[re.sub(r"[^a-z]", "", label.lower())] = url.strip()
    named = [urls.get(label) for label in ("homepage", "repository", "source", "documentation")]
    return next(filter(None, [*headers.get("home-page", []), *named, *urls.values()]), None)


def _unnamed(path: Any) -> PluginRecord:
    """Return name and version of a distribution from the name of its folder, ``nasreg_mine-1.0.dist-info``."""
    name, _, version = path.name.rpartition(".")[0].partition("-")
    distribution = normalize(name) or path.name
    return PluginRecord(distribution, distribution, version.partition("-py")[0] or None, metadata=str(path))
