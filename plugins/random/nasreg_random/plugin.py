"""The hooks of the plugin: random search as data that names its code by string. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from nasreg.hookspecs import hookimpl
from nasreg.specs import PRIMITIVES, AlgorithmSpec, MutatorSpec, PluginInfo, Preset, TrainerSpec


@hookimpl
def nasreg_plugin() -> PluginInfo:
    """Return the version of the contract that the plugin was written for."""
    return PluginInfo(api=2)


@hookimpl
def nasreg_algorithms() -> Iterable[AlgorithmSpec]:
    """Return the algorithm."""
    return [
        AlgorithmSpec(
            name="random",
            summary="random search: different architectures, each trained on its own, the best by validation",
            paper="Li, Talwalkar: Random Search and Reproducibility for Neural Architecture Search,"
            " https://arxiv.org/abs/1902.07638",
            family="multi-trial",
            primitives=PRIMITIVES,
            mutator=MutatorSpec(factory="nasreg_random.mutator:RandomMutator", config="nasreg.specs:Config"),
            trainer=TrainerSpec(
                factory="nasreg.trainers:MultiTrialTrainer", config="nasreg_random.config:RandomTrainerConfig"
            ),
            presets={
                "default": Preset(
                    summary="20 trials of 20 epochs, 8 cells, 16 channels",
                    spaces={"darts": {"cells": 8, "channels": 16}},
                ),
                "nasbench201": Preset(
                    summary="100 architectures of a table, drawn with replacement as in the benchmarks' baselines",
                    space="nasbench201",
                    trainer={"max_trials": 100, "duplicates": "evaluate"},
                ),
                "demo": Preset(
                    summary="a real search of 8 small trials that ends within two minutes on two CPU cores",
                    trainer={"max_trials": 8},
                    evaluator={"epochs": 6, "batch_size": 64, "lr": 0.1},
                    spaces={"darts": {"cells": 3, "channels": 8, "nodes": 3}, "chain": {"blocks": 3, "channels": 8}},
                ),
            },
            default_preset="default",
            default_space="darts",
        )
    ]
