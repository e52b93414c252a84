"""The hooks of the plugin: P-DARTS as data that names its code by string. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from nasreg.hookspecs import hookimpl
from nasreg.specs import (
    AlgorithmSpec,
    GenotypeEntry,
    MutatorSpec,
    PluginInfo,
    Preset,
    RecipeEntry,
    TrainerSpec,
)

PAPER = (
    "Chen, Xie, Wu, Tian: Progressive Differentiable Architecture Search: Bridging the Depth Gap between Search and"
    " Evaluation, https://arxiv.org/abs/1904.12760"
)
PAPER_SPACE = {"darts": {"cells": 5, "channels": 16}}


@hookimpl
def nasreg_plugin() -> PluginInfo:
    """Return the version of the contract that the plugin was written for."""
    return PluginInfo(api=2)


@hookimpl
def nasreg_algorithms() -> Iterable[AlgorithmSpec]:
    """Return the algorithm."""
    return [
        AlgorithmSpec(
            name="pdarts",
            summary="DARTS in stages of growing depth, with fewer candidates and dropout on skip connections",
            paper=PAPER,
            family="one-shot",
            primitives=frozenset({"layer", "input/sum", "input/mean", "cell"}),
            requires=frozenset({"depth", "edge_candidates"}),
            requires_choices=frozenset({"cell"}),
            splits=frozenset({"arch"}),
            mutator=MutatorSpec(
                factory="nasreg_pdarts.mutator:PdartsMutator", config="nasreg_pdarts.config:PdartsMutatorConfig"
            ),
            trainer=TrainerSpec(
                factory="nasreg_pdarts.trainer:PdartsTrainer", config="nasreg_pdarts.config:PdartsTrainerConfig"
            ),
            presets={
                "paper": Preset(
                    summary="the authors' published command line: 3 stages of 25 epochs, 5, 11 and 17 cells",
                    spaces=PAPER_SPACE,
                ),
                "paper-cifar10": Preset(
                    summary="the same with the dropout that the paper gives for CIFAR-10",
                    trainer={"dropout": [0.0, 0.4, 0.7]},
                    spaces=PAPER_SPACE,
                ),
                "paper-cifar100": Preset(
                    summary="the same with the dropout that the paper gives for CIFAR-100",
                    trainer={"dropout": [0.1, 0.2, 0.3]},
                    spaces=PAPER_SPACE,
                ),
                "demo": Preset(
                    summary="a real search in 3 stages that ends within three minutes on two CPU cores",
                    trainer={
                        "epochs": 8,
                        "batch_size": 64,
                        "lr": 0.1,
                        "arch_lr": 6e-3,
                        "warmup_epochs": 3,
                        "added_cells": [0, 1, 2],
                    },
                    spaces={"darts": {"cells": 3, "channels": 8, "nodes": 3}},
                    dataset={"validation_fraction": 0.2},
                ),
            },
            default_preset="paper",
            default_space="darts",
        )
    ]


@hookimpl
def nasreg_genotypes() -> Iterable[GenotypeEntry]:
    """Return the published architectures that P-DARTS found."""
    return [
        GenotypeEntry(
            name="PDARTS",
            summary="found by P-DARTS on CIFAR-10",
            paper=PAPER,
            space="darts",
            genotype="Genotype("
            "normal=[('skip_connect', 0), ('dil_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 1),"
            " ('sep_conv_3x3', 1), ('sep_conv_3x3', 3), ('sep_conv_3x3', 0), ('dil_conv_5x5', 4)],"
            " normal_concat=range(2, 6),"
            " reduce=[('avg_pool_3x3', 0), ('sep_conv_5x5', 1), ('sep_conv_3x3', 0), ('dil_conv_5x5', 2),"
            " ('max_pool_3x3', 0), ('dil_conv_3x3', 1), ('dil_conv_3x3', 1), ('dil_conv_5x5', 3)],"
            " reduce_concat=range(2, 6))",
        ),
    ]


@hookimpl
def nasreg_recipes() -> Iterable[RecipeEntry]:
    """Return the recipes that the paper retrains architectures by."""
    return [
        RecipeEntry(
            name="cifar-pdarts",
            summary="the recipe of P-DARTS for CIFAR: that of DARTS with batches of 128 and drop-path 0.3",
            paper=PAPER,
            trainer={"batch_size": 128, "drop_path": 0.3},
            spaces={"darts": {"cells": 20, "channels": 36}},
            dataset={"cutout": 16},
        ),
        RecipeEntry(
            name="imagenet-pdarts",
            summary="the recipe of P-DARTS for ImageNet: that of DARTS with batches of 256 and a linear schedule",
            paper=PAPER,
            trainer={
                "epochs": 250,
                "lr": 0.1,
                "weight_decay": 3e-5,
                "label_smoothing": 0.1,
                "drop_path": 0.0,
                "batch_size": 256,
                "schedule": "linear",
            },
            spaces={"darts": {"cells": 14, "channels": 48}},
            dataset={
                "image_size": 224,
                "center_fraction": 224 / 256,
                "crop_scale": [0.08, 1.0],
                "color_jitter": [0.4, 0.4, 0.4, 0.2],
                "crop_padding": 0,
                "flip": True,
            },
        ),
    ]
