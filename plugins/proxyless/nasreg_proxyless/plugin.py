"""The hooks of the plugin: ProxylessNAS as data that names its code by string. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from nasreg.hookspecs import hookimpl
from nasreg.specs import AlgorithmSpec, MutatorSpec, PluginInfo, Preset, TrainerSpec

PAPER = (
    "Cai, Zhu, Han: ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware,"
    " https://arxiv.org/abs/1812.00332"
)
SMALL = {"stages": 3, "blocks": 2, "channels": 16, "reductions": 1, "kernels": [3, 5]}


@hookimpl
def nasreg_plugin() -> PluginInfo:
    """Return the version of the contract that the plugin was written for."""
    return PluginInfo(api=2)


@hookimpl
def nasreg_algorithms() -> Iterable[AlgorithmSpec]:
    """Return the algorithm."""
    return [
        AlgorithmSpec(
            name="proxyless",
            summary="weights along sampled paths, architectures by binary gates or REINFORCE, with a loss for latency",
            paper=PAPER,
            family="one-shot",
            primitives=frozenset({"layer", "cell"}),
            splits=frozenset({"arch"}),
            mutator=MutatorSpec(
                factory="nasreg_proxyless.mutator:ProxylessMutator", config="nasreg.mutators:SoftmaxMutatorConfig"
            ),
            trainer=TrainerSpec(
                factory="nasreg_proxyless.trainer:ProxylessTrainer",
                config="nasreg_proxyless.config:ProxylessTrainerConfig",
            ),
            presets={
                "paper": Preset(
                    summary="the search of the authors' program on ImageNet, without a cost: 40 epochs of warm-up and"
                    " 120 of search, batches of 256 (200 GPU-hours in the paper); set trainer.reference for a latency",
                ),
                "paper-two": Preset(
                    summary="the same with the gates of two sampled paths, as the text of the paper has it",
                    trainer={"gradient": "two"},
                ),
                "nasbench201": Preset(
                    summary="cells of NAS-Bench-201 in a setting of this package (the paper has none): 10 epochs of"
                    " warm-up and 40 of search, batches of 64",
                    space="nasbench201",
                    trainer={
                        "epochs": 50,
                        "warmup_epochs": 10,
                        "batch_size": 64,
                        "weight_decay": 5e-4,
                        "arch_every": 1,
                    },
                ),
                "demo": Preset(
                    summary="a real search for few MACs that takes about a minute on two CPU cores",
                    trainer={
                        "epochs": 30,
                        "warmup_epochs": 10,
                        "batch_size": 16,
                        "lr": 0.05,
                        "warmup_lr": 0.05,
                        "arch_lr": 0.03,
                        "arch_every": 2,
                        "gradient": "two",
                        "label_smoothing": 0.0,
                        "cost": "macs",
                        "reference": 1.5e6,
                        "cost_loss": "sum",
                    },
                    spaces={
                        "mobilenet": SMALL,
                        "darts": {"cells": 3, "channels": 8, "nodes": 3},
                    },
                    dataset={"validation_fraction": 0.2},
                ),
            },
            default_preset="paper",
            default_space="mobilenet",
        )
    ]
