"""The hooks of the plugin: its space and its evaluator as data that name their code by string. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from nasreg.hookspecs import hookimpl
from nasreg.specs import EvaluatorSpec, Notation, PluginInfo, SpaceEntry
from nasreg_nasbench201.strings import EXAMPLE

PAPER = (
    "Dong, Yang: NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search,"
    " https://arxiv.org/abs/2001.00326"
)


@hookimpl
def nasreg_plugin() -> PluginInfo:
    """Return the version of the contract that the plugin was written for."""
    return PluginInfo(api=2)


@hookimpl
def nasreg_spaces() -> Iterable[SpaceEntry]:
    """Return the space."""
    return [
        SpaceEntry(
            name="nasbench201",
            summary="cells of four states with one of five operations on each edge: 15,625 architectures",
            paper=PAPER,
            factory="nasreg_nasbench201.space:build",
            config="nasreg_nasbench201.config:SpaceConfig",
            retrain={"phase": "retrain"},
            notation=Notation(
                prefix="|",
                example=EXAMPLE,
                formatter="nasreg_nasbench201.strings:format_string",
                parser="nasreg_nasbench201.strings:parse_string",
            ),
            evaluator="nasbench201",
            default_preset="nasbench201",
            diagnostics="nasreg_nasbench201.callback:diagnostics",
        )
    ]


@hookimpl
def nasreg_evaluators() -> Iterable[EvaluatorSpec]:
    """Return the evaluator."""
    return [
        EvaluatorSpec(
            name="nasbench201",
            summary="looks the accuracy of each architecture up in the table of NAS-Bench-201: trains nothing",
            paper=PAPER,
            factory="nasreg_nasbench201.evaluator:NasBench201Evaluator",
            config="nasreg_nasbench201.config:EvaluatorConfig",
            spaces=("nasbench201",),
        )
    ]
