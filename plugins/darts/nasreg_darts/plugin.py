"""The hooks of the plugin: DARTS as data that names its code by string. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from nasreg.hookspecs import hookimpl
from nasreg.specs import AlgorithmSpec, GenotypeEntry, MutatorSpec, PluginInfo, Preset, TrainerSpec

PAPER = "Liu, Simonyan, Yang: DARTS: Differentiable Architecture Search, https://arxiv.org/abs/1806.09055"
PAPER_SPACE = {"cells": 8, "channels": 16}


@hookimpl
def nasreg_plugin() -> PluginInfo:
    """Return the version of the contract that the plugin was written for."""
    return PluginInfo(api=2)


@hookimpl
def nasreg_algorithms() -> Iterable[AlgorithmSpec]:
    """Return the algorithm."""
    return [
        AlgorithmSpec(
            name="darts",
            summary="gradient descent on a continuous relaxation of the architecture, first and second order",
            paper=PAPER,
            family="one-shot",
            primitives=frozenset({"layer", "input/sum", "input/mean", "cell"}),
            splits=frozenset({"arch"}),
            mutator=MutatorSpec(
                factory="nasreg_darts.mutator:DartsMutator", config="nasreg.mutators:SoftmaxMutatorConfig"
            ),
            trainer=TrainerSpec(
                factory="nasreg_darts.trainer:DartsTrainer", config="nasreg_darts.config:DartsTrainerConfig"
            ),
            presets={
                "paper": Preset(
                    summary="the search of the paper, first order: 50 epochs, 8 cells, 16 channels",
                    seed=2,
                    spaces={"darts": PAPER_SPACE},
                ),
                "paper-second-order": Preset(
                    summary="the same with the unrolled second order",
                    seed=2,
                    trainer={"second_order": True},
                    spaces={"darts": PAPER_SPACE},
                ),
                "demo": Preset(
                    summary="a real search that takes about a minute on two CPU cores",
                    trainer={"epochs": 12, "batch_size": 64, "lr": 0.1, "arch_lr": 3e-3},
                    spaces={"darts": {"cells": 3, "channels": 8, "nodes": 3}, "chain": {"blocks": 3, "channels": 8}},
                    dataset={"validation_fraction": 0.2},
                ),
            },
            default_preset="paper",
            default_space="darts",
        )
    ]


@hookimpl
def nasreg_genotypes() -> Iterable[GenotypeEntry]:
    """Return the published architectures that DARTS found."""
    return [
        GenotypeEntry(
            name="DARTS_V1",
            summary="found by DARTS of first order on CIFAR-10",
            paper=PAPER,
            space="darts",
            genotype="Genotype("
            "normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), ('sep_conv_3x3', 1),"
            " ('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 2)],"
            " normal_concat=range(2, 6),"
            " reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0),"
            " ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)],"
            " reduce_concat=range(2, 6))",
        ),
        GenotypeEntry(
            name="DARTS_V2",
            summary="found by DARTS of second order on CIFAR-10",
            paper=PAPER,
            space="darts",
            genotype="Genotype("
            "normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1),"
            " ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)],"
            " normal_concat=range(2, 6),"
            " reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1),"
            " ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)],"
            " reduce_concat=range(2, 6))",
        ),
    ]
