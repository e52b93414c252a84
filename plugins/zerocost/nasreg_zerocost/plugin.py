"""The hooks of the plugin: the evaluator as data that names its code by string. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from nasreg.hookspecs import hookimpl
from nasreg.specs import EvaluatorSpec, PluginInfo


@hookimpl
def nasreg_plugin() -> PluginInfo:
    """Return the version of the contract that the plugin was written for."""
    return PluginInfo(api=2)


@hookimpl
def nasreg_evaluators() -> Iterable[EvaluatorSpec]:
    """Return the evaluator."""
    return [
        EvaluatorSpec(
            name="zero-cost",
            summary="scores the untrained network of each proposal, in a moment: synflow, snip, naswot, zen, ...",
            paper="Abdelfattah, Mehrotra, Dudziak, Lane: Zero-Cost Proxies for Lightweight NAS,"
            " https://arxiv.org/abs/2101.08134",
            factory="nasreg_zerocost.evaluator:ZeroCostEvaluator",
            config="nasreg_zerocost.config:ZeroCostConfig",
            needs=frozenset({"data", "network"}),
            splits=frozenset({"validation"}),
        )
    ]
