"""Which of the installed plugins are loaded: the variables NASREG_PLUGINS and NASREG_DISABLE."""

from __future__ import annotations

import os
from collections.abc import Sequence

from nasreg.errors import ConfigError, did_you_mean, warn_once
from nasreg.registry.records import PluginRecord, normalize


def left_out(plugins: Sequence[PluginRecord]) -> set[PluginRecord]:
    """Return the plugins that NASREG_PLUGINS does not name, where it is set, and those that NASREG_DISABLE names.

    A name is that of an entry point, of a distribution, or ``distribution/entry-point``. That NASREG_DISABLE names a
    plugin that is not installed is a warning, since nothing is missing for it.

    Raises:
        ConfigError: NASREG_PLUGINS names a plugin that is not installed.
    """
    names = {plugin: _names(plugin) for plugin in plugins}
    known = set().union(*names.values())
    named: dict[str, set[PluginRecord]] = {"NASREG_PLUGINS": set(), "NASREG_DISABLE": set()}
    for variable, chosen in named.items():
        for word in sorted({word.strip() for word in os.environ.get(variable, "").split(",")} - {""}):
            wanted = _normalized(word)
            chosen |= {plugin for plugin in plugins if wanted in names[plugin]}
            if wanted not in known:
                hint = did_you_mean(word, [name for name in known if "/" not in name])
                message = f"{variable} names {word!r}, which is no installed plugin.{hint}"
                if variable == "NASREG_PLUGINS":
                    raise ConfigError(message)
                warn_once(message)
    allowed = named["NASREG_PLUGINS"] if "NASREG_PLUGINS" in os.environ else set(plugins)
    return (set(plugins) - allowed) | named["NASREG_DISABLE"]


def _names(plugin: PluginRecord) -> set[str]:
    name, distribution = normalize(plugin.name), normalize(plugin.distribution or "")
    return {name, distribution, f"{distribution}/{name}"}


def _normalized(word: str) -> str:
    return "/".join(map(normalize, word.split("/")))
