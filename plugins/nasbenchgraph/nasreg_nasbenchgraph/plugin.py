"""The hooks of the plugin: its space and its evaluator as data that name their code by string. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from nasreg.hookspecs import hookimpl
from nasreg.specs import EvaluatorSpec, Notation, PluginInfo, SpaceEntry
from nasreg_nasbenchgraph.architectures import EXAMPLE

PAPER = (
    "Qin, Zhang, Wang, Zhang, Zhu: NAS-Bench-Graph: Benchmarking Graph Neural Architecture Search,"
    " https://arxiv.org/abs/2206.09166"
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
            name="nasbenchgraph",
            summary="graph networks of four nodes with a source and one of nine operations each: 26,206 different ones",
            paper=PAPER,
            factory="nasreg_nasbenchgraph.space:describe",
            config="nasreg_nasbenchgraph.config:SpaceConfig",
            network=False,
            notation=Notation(
                prefix="Arch(",
                example=EXAMPLE,
                formatter="nasreg_nasbenchgraph.architectures:format_architecture",
                parser="nasreg_nasbenchgraph.architectures:parse_architecture",
            ),
            evaluator="nasbenchgraph",
            default_preset="nasbench201",  # what algorithms call their settings for a small table
        )
    ]


@hookimpl
def nasreg_evaluators() -> Iterable[EvaluatorSpec]:
    """Return the evaluator."""
    return [
        EvaluatorSpec(
            name="nasbenchgraph",
            summary="looks the accuracy of each architecture up in a table of NAS-Bench-Graph: trains nothing",
            paper=PAPER,
            factory="nasreg_nasbenchgraph.evaluator:NasBenchGraphEvaluator",
            config="nasreg_nasbenchgraph.config:EvaluatorConfig",
            spaces=("nasbenchgraph",),
        )
    ]
