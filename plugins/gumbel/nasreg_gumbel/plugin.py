"""The hooks of the plugin: GDAS and SNAS as data that names its code by string. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from nasreg.hookspecs import hookimpl
from nasreg.specs import AlgorithmSpec, MutatorSpec, PluginInfo, Preset, TrainerSpec

GDAS = "Dong, Yang: Searching for A Robust Neural Architecture in Four GPU Hours, https://arxiv.org/abs/1910.04465"
SNAS = "Xie, Zheng, Liu, Lin: SNAS: Stochastic Neural Architecture Search, https://arxiv.org/abs/1812.09926"

DARTS = {"darts": {"cells": 8, "channels": 16}}
NASBENCH201 = {"nasbench201": {"cells": 5, "channels": 16}}
DEMO = {"darts": {"cells": 3, "channels": 8, "nodes": 3}, "chain": {"blocks": 3, "channels": 8}}


@hookimpl
def nasreg_plugin() -> PluginInfo:
    """Return the version of the contract that the plugin was written for."""
    return PluginInfo(api=2)


@hookimpl
def nasreg_algorithms() -> Iterable[AlgorithmSpec]:
    """Return the algorithms."""
    return [
        AlgorithmSpec(
            name="gdas",
            summary="gradient descent through one sampled candidate per choice, by the hard Gumbel-softmax",
            paper=GDAS,
            family="one-shot",
            primitives=frozenset({"layer", "cell"}),
            splits=frozenset({"arch"}),
            mutator=MutatorSpec(
                factory="nasreg.mutators:HardGumbelMutator", config="nasreg.mutators:GumbelMutatorConfig"
            ),
            trainer=TrainerSpec(
                factory="nasreg_gumbel.gdas:GdasTrainer", config="nasreg_gumbel.config:GdasTrainerConfig"
            ),
            presets={
                "paper": Preset(
                    summary="the authors' program on the DARTS cells: 250 epochs, batches of 256, 8 cells, 16 channels",
                    trainer={"batch_size": 256},
                    spaces=DARTS,
                ),
                "nasbench201": Preset(
                    summary="the authors' program on NAS-Bench-201: 250 epochs, batches of 64, 17 cells, 16 channels",
                    space="nasbench201",
                    spaces=NASBENCH201,
                ),
                "demo": Preset(
                    summary="a real search that takes about a minute on two CPU cores",
                    trainer={"epochs": 30, "batch_size": 64, "lr": 0.1, "arch_lr": 1e-2},
                    mutator={"temperature": 5.0, "temperature_min": 0.5},
                    spaces=DEMO,
                    dataset={"validation_fraction": 0.2},
                ),
            },
            default_preset="paper",
            default_space="darts",
        ),
        AlgorithmSpec(
            name="snas",
            summary="gradient descent through samples of the soft Gumbel-softmax, whose temperature falls",
            paper=SNAS,
            family="one-shot",
            primitives=frozenset({"layer", "cell"}),
            splits=frozenset({"arch"}),
            mutator=MutatorSpec(
                factory="nasreg.mutators:GumbelMutator", config="nasreg_gumbel.config:SnasMutatorConfig"
            ),
            trainer=TrainerSpec(
                factory="nasreg.trainers:BilevelTrainer", config="nasreg.trainers:BilevelTrainerConfig"
            ),
            presets={
                "paper": Preset(
                    summary="the search of the paper on the DARTS cells: 150 epochs, 8 cells, 16 channels, temperature"
                    " from 1 to 0.03",
                    trainer={"epochs": 150},
                    spaces=DARTS,
                ),
                "nasbench201": Preset(
                    summary="SNAS in the program of DrNAS (arXiv 2006.10355) on NAS-Bench-201: 100 epochs, temperature"
                    " from 10 to 1",
                    space="nasbench201",
                    trainer={"epochs": 100},
                    mutator={"temperature": 10.0, "temperature_min": 1.0},
                    spaces=NASBENCH201,
                ),
                "demo": Preset(
                    summary="a real search that takes about a minute on two CPU cores",
                    trainer={"epochs": 12, "batch_size": 64, "lr": 0.1, "arch_lr": 1e-2},
                    spaces=DEMO,
                    dataset={"validation_fraction": 0.2},
                ),
            },
            default_preset="paper",
            default_space="darts",
        ),
    ]
