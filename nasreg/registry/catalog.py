"""Who provides which name. A name that two plugins claim belongs to neither, but each has its qualified name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from nasreg.errors import PluginError, warn_once
from nasreg.registry.records import KINDS, TITLES, Entry, PluginRecord, kind_of, name_of, normalize
from nasreg.specs.entries import Kind, RenamedEntry


class Claim(NamedTuple):
    """An entry and the plugin that provides it."""

    entry: Entry
    plugin: PluginRecord

    @property
    def qualified(self) -> str:
        """The name that no other distribution can claim; of an entry of this process the plain name."""
        distribution = self.plugin.distribution
        return f"{normalize(distribution)}/{self.entry.name}" if distribution else self.entry.name


class _Rename(NamedTuple):
    """An old name and the plugin that gave it up."""

    entry: RenamedEntry
    plugin: PluginRecord


class Catalog:
    """The entries of all plugins by kind and name, and the records of the plugins."""

    def __init__(self) -> None:
        self.records: list[PluginRecord] = []
        self._claims: dict[Kind, dict[str, list[Claim | _Rename]]] = {kind: {} for kind in KINDS}

    def add(self, entry: Entry | RenamedEntry, plugin: PluginRecord) -> None:
        """Add what a plugin provides."""
        claim = _Rename(entry, plugin) if isinstance(entry, RenamedEntry) else Claim(entry, plugin)
        self._claims[kind_of(entry)].setdefault(name_of(entry), []).append(claim)

    def remove(self, plugin: PluginRecord, name: str) -> None:
        """Remove what a plugin provides under a name, of whatever kind."""
        for claims in self._claims.values():
            kept = [claim for claim in claims.get(name, []) if claim.plugin.key != plugin.key]
            if kept:
                claims[name] = kept
            else:
                claims.pop(name, None)

    def names(self, kind: Kind) -> list[str]:
        """Return the sorted names of a kind, without those that are contested and those that were given up."""
        return sorted(
            name
            for name, claims in self._claims[kind].items()
            if isinstance(claims[0], Claim) and (len(claims) == 1 or _agree(claims))
        )

    def owners(self, kind: Kind, name: str) -> list[PluginRecord]:
        """Return the plugins that claim a name."""
        return [claim.plugin for claim in self._claims[kind].get(name, [])]

    def claimed(self, plugin: PluginRecord) -> Iterator[Entry | RenamedEntry]:
        """Yield all that a plugin provides, contested or not."""
        for claims in self._claims.values():
            for each in claims.values():
                yield from (claim.entry for claim in each if claim.plugin.key == plugin.key)

    def provided(self) -> dict[tuple[str | None, ...], dict[Kind, list[str]]]:
        """Return the names that each plugin has and no other, by plugin (``PluginRecord.key``) and kind."""
        provided: dict[tuple[str | None, ...], dict[Kind, list[str]]] = {}
        for kind, claims in self._claims.items():
            for name in self.names(kind):
                provided.setdefault(claims[name][0].plugin.key, {}).setdefault(kind, []).append(name)
        return provided

    def clashes(self) -> dict[tuple[str | None, ...], list[str]]:
        """Return a line for each name that a plugin claims and another one, too, by plugin."""
        clashes: dict[tuple[str | None, ...], list[str]] = {}
        for kind, claims in self._claims.items():
            for name, each in sorted(claims.items()):
                if len(each) == 1 or _agree(each):
                    continue
                for claim in each:
                    others = " and ".join(other.plugin.origin for other in each if other.plugin.key != claim.plugin.key)
                    clashes.setdefault(claim.plugin.key, []).append(
                        f"{TITLES[kind]} {name!r} is claimed by {others} too"
                    )
        return clashes

    def find(self, kind: Kind, name: str) -> Claim | None:
        """Return the claim to a name, qualified or not, or None. A name that was given up gives a warning once.

        Raises:
            PluginError: Several plugins claim it.
        """
        distribution, _, plain = name.rpartition("/")
        claims = self._claims[kind].get(plain, [])
        if "/" in name:
            wanted = normalize(distribution)
            claims = [
                each for each in claims if each.plugin.distribution and normalize(each.plugin.distribution) == wanted
            ]
        if not claims:
            return None
        if len(claims) > 1 and not _agree(claims):
            raise PluginError(_contested(kind, name, claims))
        claim = claims[0]
        if isinstance(claim, Claim):
            return claim
        new = claim.entry.new
        for each in self._claims[kind].get(new, []):
            if isinstance(each, Claim) and each.plugin.key == claim.plugin.key:
                warn_once(f"{TITLES[kind]} {name!r} is called {new!r} now")
                return each
        return None  # it was unregistered


def _agree(claims: list[Claim | _Rename]) -> bool:
    """Return whether all claims are to the same thing: what is found twice is one."""
    return all(claim.entry == claims[0].entry for claim in claims[1:])


def _contested(kind: Kind, name: str, claims: list[Claim | _Rename]) -> str:
    owners = " and ".join(claim.plugin.origin for claim in claims)
    plain = name.rpartition("/")[2]
    distributions = {normalize(claim.plugin.distribution) for claim in claims if claim.plugin.distribution}
    qualified = sorted(f"{distribution}/{plain}" for distribution in distributions)
    choice = f"write {' or '.join(qualified)}, or " if len(qualified) == len(claims) else ""
    return f"{TITLES[kind]} {name!r} is claimed by {owners}: {choice}uninstall or NASREG_DISABLE one of them"
