"""The hooks of the plugin: DrNAS as data that names its code by string. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from nasreg.hookspecs import hookimpl
from nasreg.specs import AlgorithmSpec, MutatorSpec, PluginInfo, Preset, TrainerSpec

PAPER = "Chen, Wang, Cheng, Tang, Hsieh: DrNAS: Dirichlet Neural Architecture Search, https://arxiv.org/abs/2006.10355"
NASBENCH201 = {"nasbench201": {"cells": 5, "channels": 16}}


@hookimpl
def nasreg_plugin() -> PluginInfo:
    """Return the version of the contract that the plugin was written for."""
    return PluginInfo(api=2)


@hookimpl
def nasreg_algorithms() -> Iterable[AlgorithmSpec]:
    """Return the algorithm."""
    return [
        AlgorithmSpec(
            name="drnas",
            summary="DARTS on samples of a Dirichlet distribution, in stages of fewer candidates and more channels",
            paper=PAPER,
            family="one-shot",
            primitives=frozenset({"layer", "cell"}),
            splits=frozenset({"arch"}),
            mutator=MutatorSpec(
                factory="nasreg_drnas.mutator:DrnasMutator", config="nasreg.mutators:SoftmaxMutatorConfig"
            ),
            trainer=TrainerSpec(
                factory="nasreg_drnas.trainer:DrnasTrainer", config="nasreg_drnas.config:DrnasTrainerConfig"
            ),
            presets={
                "paper": Preset(
                    summary="the authors' program on CIFAR-10: 2 stages of 25 epochs, 20 cells, 36 channels, K=6 and 4",
                    seed=2,
                    trainer={
                        "epochs": 50,
                        "warmup_epochs": 10,
                        "lr": 0.1,
                        "lr_min": 0.0,
                        "arch_lr": 6e-4,
                        "kept": [4],
                        "stage_partial_channels": [6, 4],
                    },
                    spaces={"darts": {"cells": 20, "channels": 36}},
                ),
                "nasbench201": Preset(
                    summary="the authors' program on NAS-Bench-201: 100 epochs, 5 cells, 16 channels, in one stage",
                    space="nasbench201",
                    seed=2,
                    spaces=NASBENCH201,
                ),
                "nasbench201-progressive": Preset(
                    summary="the same in 2 stages of 50 epochs with K=4 and 2, and 3 candidates in the second",
                    space="nasbench201",
                    seed=2,
                    trainer={"warmup_epochs": 10, "kept": [3], "stage_partial_channels": [4, 2]},
                    spaces=NASBENCH201,
                ),
                "demo": Preset(
                    summary="a real search in 2 stages that takes about a minute on two CPU cores",
                    trainer={
                        "epochs": 12,
                        "warmup_epochs": 1,
                        "batch_size": 64,
                        "lr": 0.1,
                        "arch_lr": 1e-2,
                        "kept": [4],
                    },
                    spaces={"darts": {"cells": 3, "channels": 8, "nodes": 3}, "chain": {"blocks": 3, "channels": 8}},
                    dataset={"validation_fraction": 0.2},
                ),
            },
            default_preset="paper",
            default_space="darts",
        )
    ]
