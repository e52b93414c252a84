"""The hooks of the plugin: the algorithm as data that names its code by string. Imports no torch."""

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
            name="spos",
            summary="single path one-shot: a supernet trained along uniform paths, then evolution on its weights",
            paper="Guo, Zhang, Mu, Heng, Liu, Wei, Sun: Single Path One-Shot Neural Architecture Search with Uniform"
            " Sampling, https://arxiv.org/abs/1904.00420",
            family="multi-trial",
            primitives=PRIMITIVES,
            mutator=MutatorSpec(factory="nasreg_spos.mutator:Spos", config="nasreg_spos.config:SposConfig"),
            trainer=TrainerSpec(
                factory="nasreg.trainers:MultiTrialTrainer", config="nasreg_spos.config:SposTrainerConfig"
            ),
            evaluator="supernet",
            presets={
                "paper": Preset(
                    summary="the paper's search for ImageNet: a supernet of 120 epochs on 8 GPUs, 20 generations of 50"
                    " architectures below 330M multiply-accumulates; a day and a half",
                    trainer={"max_trials": 1000, "max_macs": 330_000_000},
                    evaluator={
                        "epochs": 120,
                        "batch_size": 1024,
                        "lr": 0.5,
                        "schedule": "linear",
                        "weight_decay": 4e-5,
                        "grad_clip": None,
                        "label_smoothing": 0.1,
                    },
                    dataset={
                        "image_size": 224,
                        "center_fraction": 224 / 256,
                        "crop_scale": [0.08, 1.0],
                        "color_jitter": [0.4, 0.4, 0.4, 0.0],
                        "crop_padding": 0,
                        "flip": True,
                        "validation_fraction": 0.04,
                    },
                ),
                "nasbench201": Preset(
                    summary="uniform paths and evolution on a supernet of NAS-Bench-201: 250 epochs with its settings,"
                    " 10 generations of 50 architectures",
                    space="nasbench201",
                    trainer={"max_trials": 500},
                    evaluator={"epochs": 250, "lr_min": 0.001, "weight_decay": 5e-4},
                ),
                "demo": Preset(
                    summary="a real search that ends within two minutes on two CPU cores: 30 epochs, 5 generations of"
                    " 12 architectures",
                    mutator={"population": 12, "top": 4, "mutations": 6, "crossovers": 6},
                    trainer={"max_trials": 60},
                    evaluator={"epochs": 30, "lr": 0.05},
                    spaces={
                        "shufflenet": {"channels": 8, "stages": 3, "blocks": 2},
                        "vit": {"channels": 48, "blocks": 4},
                        "darts": {"cells": 3, "channels": 8, "nodes": 3},
                        "chain": {"blocks": 3, "channels": 8},
                    },
                ),
            },
            default_preset="demo",
            default_space="shufflenet",
        )
    ]
