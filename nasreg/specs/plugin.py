"""The identity of a plugin: the contract it was written for, and what it is. Stated once per plugin, not per entry."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from nasreg.specs.base import Spec

PLUGIN_API = 2
"""The newest version of the contract between core and plugins that this nasreg supports."""

OLDEST_PLUGIN_API = 2
"""The oldest one."""


class PluginInfo(Spec):
    """The identity of a plugin; the hook ``nasreg_plugin`` returns it."""

    api: int = Field(description="the PLUGIN_API that the plugin was written for")
    summary: str | None = Field(default=None, description="one line; by default the summary of its distribution")
    homepage: str | None = Field(
        default=None, pattern=r"^https?://", description="address; by default the home page of its distribution"
    )

    @model_validator(mode="before")
    @classmethod
    def _ignore_unknown_of_newer(cls, values: Any) -> Any:
        # A plugin for a newer contract may use fields that do not exist here. It is refused for its version, which
        # tells the user what to do, and not for those fields.
        if isinstance(values, dict) and isinstance(api := values.get("api"), int) and api > PLUGIN_API:
            return {"api": api}
        return values
