"""The hooks of the plugin: DARTS- as data that names its code by string. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from nasreg.hookspecs import hookimpl
from nasreg.specs import AlgorithmSpec, GenotypeEntry, MutatorSpec, PluginInfo, Preset, TrainerSpec

PAPER = (
    "Chu, Wang, Zhang, Lu, Wei, Yan: DARTS-: Robustly Stepping out of Performance Collapse Without Indicators,"
    " https://arxiv.org/abs/2009.01027"
)


@hookimpl
def nasreg_plugin() -> PluginInfo:
    """Return the version of the contract that the plugin was written for."""
    return PluginInfo(api=2)


@hookimpl
def nasreg_algorithms() -> Iterable[AlgorithmSpec]:
    """Return the algorithm."""
    return [
        AlgorithmSpec(
            name="darts-minus",
            summary="DARTS with an auxiliary skip connection on each edge, whose weight decays: it does not collapse",
            paper=PAPER,
            family="one-shot",
            primitives=frozenset({"layer", "input/sum", "input/mean", "cell"}),
            requires_choices=frozenset({"cell"}),
            splits=frozenset({"arch"}),
            mutator=MutatorSpec(
                factory="nasreg.mutators:SkipCountingMutator", config="nasreg.mutators:SoftmaxMutatorConfig"
            ),
            trainer=TrainerSpec(
                factory="nasreg.trainers:BilevelTrainer", config="nasreg_darts_minus.config:DartsMinusTrainerConfig"
            ),
            presets={
                "paper": Preset(
                    summary="the search of the authors' program, linear decay: 50 epochs, 8 cells, 16 channels",
                    seed=2,
                    spaces={"darts": {"cells": 8, "channels": 16}},
                ),
                "nasbench201": Preset(
                    summary="NAS-Bench-201 with the settings of its authors' DARTS: 50 epochs, 5 cells, 16 channels",
                    space="nasbench201",
                    trainer={"weight_decay": 5e-4},
                    spaces={"nasbench201": {"cells": 5, "channels": 16}},
                ),
                "demo": Preset(
                    summary="a real search that takes about a minute on two CPU cores",
                    trainer={"epochs": 12, "batch_size": 64, "lr": 0.1, "arch_lr": 3e-3},
                    spaces={
                        "darts": {"cells": 3, "channels": 8, "nodes": 3},
                        "nasbench201": {"cells": 1, "channels": 8},
                    },
                    dataset={"validation_fraction": 0.2},
                ),
            },
            default_preset="paper",
            default_space="darts",
        )
    ]


@hookimpl
def nasreg_genotypes() -> Iterable[GenotypeEntry]:
    """Return the architecture that the authors' program calls the best of the DARTS space (``cifar10_s0_best``)."""
    return [
        GenotypeEntry(
            name="DARTS_MINUS",
            summary="found by DARTS- on CIFAR-10",
            paper=PAPER,
            space="darts",
            genotype="Genotype("
            "normal=[('sep_conv_3x3', 0), ('sep_conv_5x5', 1), ('sep_conv_3x3', 1), ('dil_conv_3x3', 2),"
            " ('skip_connect', 1), ('sep_conv_3x3', 0), ('skip_connect', 1), ('sep_conv_3x3', 0)],"
            " normal_concat=range(2, 6),"
            " reduce=[('sep_conv_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0),"
            " ('skip_connect', 2), ('skip_connect', 3), ('skip_connect', 2), ('skip_connect', 3)],"
            " reduce_concat=range(2, 6))",
        ),
    ]
