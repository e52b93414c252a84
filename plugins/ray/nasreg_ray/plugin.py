"""The hooks of the plugin: the executor as data that names its code by string. Imports neither torch nor Ray."""

from __future__ import annotations

from collections.abc import Iterable

from nasreg.hookspecs import hookimpl
from nasreg.specs import ExecutorEntry, PluginInfo


@hookimpl
def nasreg_plugin() -> PluginInfo:
    """Return the version of the contract that the plugin was written for."""
    return PluginInfo(api=2)


@hookimpl
def nasreg_executors() -> Iterable[ExecutorEntry]:
    """Return the executor."""
    return [
        ExecutorEntry(
            name="ray",
            summary="on the nodes of a Ray cluster; one is started on this machine where there is none",
            factory="nasreg_ray.executor:RayExecutor",
            config="nasreg_ray.config:RayConfig",
        )
    ]
