"""The hooks of the plugin: FairDARTS as data that names its code by string. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from nasreg.hookspecs import hookimpl
from nasreg.specs import AlgorithmSpec, MutatorSpec, PluginInfo, Preset, TrainerSpec

PAPER = (
    "Chu, Zhou, Zhang, Li: Fair DARTS: Eliminating Unfair Advantages in Differentiable Architecture Search,"
    " https://arxiv.org/abs/1911.12126"
)
OPERATIONS = [
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
]
"""Those of DARTS without ``none``, which nothing competes with."""


@hookimpl
def nasreg_plugin() -> PluginInfo:
    """Return the version of the contract that the plugin was written for."""
    return PluginInfo(api=2)


@hookimpl
def nasreg_algorithms() -> Iterable[AlgorithmSpec]:
    """Return the algorithm."""
    return [
        AlgorithmSpec(
            name="fairdarts",
            summary="DARTS with a sigmoid for each operation, which a zero-one loss drives to 0 or 1",
            paper=PAPER,
            family="one-shot",
            primitives=frozenset({"layer", "input/sum", "input/mean", "cell"}),
            splits=frozenset({"arch"}),
            mutator=MutatorSpec(
                factory="nasreg_fairdarts.mutator:FairDartsMutator",
                config="nasreg_fairdarts.config:FairDartsMutatorConfig",
            ),
            trainer=TrainerSpec(
                factory="nasreg_fairdarts.trainer:FairDartsTrainer",
                config="nasreg_fairdarts.config:FairDartsTrainerConfig",
            ),
            presets={
                "paper": Preset(
                    summary="the authors' program on CIFAR-10: 50 epochs, batches of 128, 8 cells, 16 channels, without"
                    " none",
                    seed=2,
                    spaces={"darts": {"cells": 8, "channels": 16, "candidates": OPERATIONS}},
                ),
                "paper-l1": Preset(
                    summary="the same with the absolute distance in the zero-one loss",
                    seed=2,
                    trainer={"zero_one": "l1"},
                    spaces={"darts": {"cells": 8, "channels": 16, "candidates": OPERATIONS}},
                ),
                "demo": Preset(
                    summary="a real search that takes about a minute on two CPU cores",
                    trainer={"epochs": 12, "batch_size": 64, "lr": 0.05, "arch_lr": 2e-2},
                    spaces={
                        "darts": {"cells": 3, "channels": 8, "nodes": 3, "candidates": OPERATIONS},
                        "chain": {"blocks": 3, "channels": 8},
                    },
                    dataset={"validation_fraction": 0.2},
                ),
            },
            default_preset="paper",
            default_space="darts",
        )
    ]
