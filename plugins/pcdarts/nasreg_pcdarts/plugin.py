"""The hooks of the plugin: PC-DARTS as data that names its code by string. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from nasreg.hookspecs import hookimpl
from nasreg.specs import AlgorithmSpec, MutatorSpec, PluginInfo, Preset, TrainerSpec

PAPER = (
    "Xu, Xie, Zhang, Chen, Qi, Tian, Xiong: PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture"
    " Search, https://arxiv.org/abs/1907.05737"
)
PAPER_SPACE = {"darts": {"cells": 8, "channels": 16}}


@hookimpl
def nasreg_plugin() -> PluginInfo:
    """Return the version of the contract that the plugin was written for."""
    return PluginInfo(api=2)


@hookimpl
def nasreg_algorithms() -> Iterable[AlgorithmSpec]:
    """Return the algorithm."""
    return [
        AlgorithmSpec(
            name="pcdarts",
            summary="DARTS on a part of the channels, with weights of the edges: a fraction of its time and memory",
            paper=PAPER,
            family="one-shot",
            primitives=frozenset({"layer", "input/sum", "input/mean", "cell"}),
            requires_choices=frozenset({"cell"}),
            splits=frozenset({"arch"}),
            mutator=MutatorSpec(
                factory="nasreg.mutators:SkipCountingMutator", config="nasreg_pcdarts.config:PcdartsMutatorConfig"
            ),
            trainer=TrainerSpec(
                factory="nasreg.trainers:BilevelTrainer", config="nasreg_pcdarts.config:PcdartsTrainerConfig"
            ),
            presets={
                "paper": Preset(
                    summary="the search of the paper on CIFAR-10: 50 epochs, 15 of them warm-up, batches of 256, K=4",
                    seed=2,
                    spaces=PAPER_SPACE,
                ),
                "imagenet": Preset(
                    summary="the authors' search on 12.5% of ImageNet: batches of 1024, 35 epochs of warm-up (without"
                    " their 5 epochs of rising learning rate)",
                    seed=2,
                    trainer={
                        "batch_size": 1024,
                        "lr": 0.5,
                        "arch_lr": 6e-3,
                        "arch_grad_clip": 5.0,
                        "warmup_epochs": 35,
                    },
                    spaces=PAPER_SPACE,
                    dataset={
                        "limit": 160_000,
                        "arch_fraction": 0.2,
                        "image_size": 224,
                        "crop_scale": [0.08, 1.0],
                        "crop_padding": 0,
                        "flip": True,
                    },
                ),
                "nasbench201": Preset(
                    summary="NAS-Bench-201 with the settings of its authors' DARTS, and K=4: 5 cells, 16 channels",
                    space="nasbench201",
                    trainer={
                        "batch_size": 64,
                        "lr": 0.025,
                        "lr_min": 0.001,
                        "weight_decay": 5e-4,
                        "arch_lr": 3e-4,
                    },
                    spaces={"nasbench201": {"cells": 5, "channels": 16}},
                ),
                "demo": Preset(
                    summary="a real search that takes about a minute on two CPU cores",
                    trainer={"epochs": 15, "batch_size": 64, "lr": 0.1, "arch_lr": 6e-3, "warmup_epochs": 5},
                    spaces={
                        "darts": {"cells": 3, "channels": 16, "nodes": 3},
                        "nasbench201": {"cells": 1, "channels": 8},
                    },
                    dataset={"validation_fraction": 0.2},
                ),
            },
            default_preset="paper",
            default_space="darts",
        )
    ]
