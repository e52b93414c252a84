"""The hooks of the plugin: algorithms as data that names its code by string. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from nasreg.hookspecs import hookimpl
from nasreg.specs import (
    PRIMITIVES,
    AlgorithmSpec,
    GenotypeEntry,
    MutatorSpec,
    Notation,
    PluginInfo,
    Preset,
    RecipeEntry,
    SpaceEntry,
)

NASNET = (
    "Zoph, Vasudevan, Shlens, Le: Learning Transferable Architectures for Scalable Image Recognition,"
    " https://arxiv.org/abs/1707.07012"
)
REINFORCE = "Zoph, Le: Neural Architecture Search with Reinforcement Learning, https://arxiv.org/abs/1611.01578"

NASNET_A = (
    "NASNet("
    "normal=[('sep_conv_5x5', 1), ('sep_conv_3x3', 0), ('sep_conv_5x5', 0), ('sep_conv_3x3', 0), ('avg_pool_3x3', 1),"
    " ('skip_connect', 0), ('avg_pool_3x3', 0), ('avg_pool_3x3', 0), ('sep_conv_3x3', 1), ('skip_connect', 1)],"
    " normal_concat=[2, 3, 4, 5, 6],"
    " reduce=[('sep_conv_5x5', 1), ('sep_conv_7x7', 0), ('max_pool_3x3', 1), ('sep_conv_7x7', 0), ('avg_pool_3x3', 1),"
    " ('sep_conv_5x5', 0), ('skip_connect', 3), ('avg_pool_3x3', 2), ('sep_conv_3x3', 2), ('max_pool_3x3', 1)],"
    " reduce_concat=[4, 5, 6])"
)

PUBLISHED_CONCAT = {"normal_concat": [0, 2, 3, 4, 5, 6], "reduce_concat": [3, 4, 5, 6]}
"""What the program of the paper's authors concatenates in the cells of NASNet-A."""

CIFAR = {
    "epochs": 600,
    "batch_size": 32,
    "lr": 0.025,
    "weight_decay": 5e-4,
    "drop_path": 0.4,
    "auxiliary_weight": 0.4,
}
"""Of the authors' program (tensorflow/models, slim): cosine, clipping at 5."""

IMAGENET = {
    "epochs": 250,
    "batch_size": 128,
    "lr": 0.1,
    "schedule": "exponential",
    "weight_decay": 3e-5,
    "label_smoothing": 0.1,
    "drop_path": 0.0,
}
"""Of DARTS, since the RMSProp over many machines of the paper is not offered."""

IMAGENET_IMAGES = {"crop_scale": [0.08, 1.0], "crop_padding": 0, "flip": True}

DEMO_TRIALS = {"epochs": 3, "batch_size": 64, "lr": 0.1}
DEMO_SPACES = {
    "nasnet": {"cells": 2, "channels": 4, "nodes": 3},
    "darts": {"cells": 3, "channels": 4, "nodes": 3},
    "chain": {"blocks": 3, "channels": 8},
}


@hookimpl
def nasreg_plugin() -> PluginInfo:
    """Return the version of the contract that the plugin was written for."""
    return PluginInfo(api=2)


@hookimpl
def nasreg_algorithms() -> Iterable[AlgorithmSpec]:
    """Return the algorithms."""
    return [
        AlgorithmSpec(
            name="nasnet",
            summary="a recurrent controller that draws architectures and learns from their scores by PPO",
            paper=NASNET,
            family="multi-trial",
            primitives=PRIMITIVES,
            mutator=MutatorSpec(
                factory="nasreg_nasnet.mutator:ControllerMutator", config="nasreg_nasnet.config:NasnetConfig"
            ),
            presets={
                "paper": Preset(
                    summary="20,000 children of 20 epochs on CIFAR-10 (the paper: 2,000 GPU-days)",
                    trainer={"max_trials": 20_000},
                    evaluator={"epochs": 20},
                    spaces={"nasnet": {"cells": 2, "channels": 32}},
                ),
                "nasbench201": Preset(
                    summary="500 architectures of a table, rewards in percent, and a learning rate for so few updates",
                    space="nasbench201",
                    mutator={"lr": 0.01, "reward_scale": 100},
                    trainer={"max_trials": 500},
                ),
                "demo": Preset(
                    summary="a real search of 12 small trials that ends within two minutes on two CPU cores",
                    mutator={"children": 4, "lr": 0.01},
                    trainer={"max_trials": 12},
                    evaluator=DEMO_TRIALS,
                    spaces=DEMO_SPACES,
                ),
            },
            default_preset="demo",
            default_space="nasnet",
        ),
        AlgorithmSpec(
            name="reinforce",
            summary="a policy that draws architectures and learns from each score by REINFORCE",
            paper=REINFORCE,
            family="multi-trial",
            primitives=PRIMITIVES,
            mutator=MutatorSpec(
                factory="nasreg_nasnet.mutator:ControllerMutator", config="nasreg_nasnet.config:ReinforceConfig"
            ),
            presets={
                "nasbench201": Preset(
                    summary="500 architectures of a table, as NATS-Bench: no recurrence, rewards in percent, lr 0.01",
                    space="nasbench201",
                    mutator={"reward_scale": 100},
                    trainer={"max_trials": 500},
                ),
                "demo": Preset(
                    summary="a real search of 12 small trials that ends within two minutes on two CPU cores",
                    mutator={"lr": 0.1, "reward_scale": 100},
                    trainer={"max_trials": 12},
                    evaluator=DEMO_TRIALS,
                    spaces=DEMO_SPACES,
                ),
            },
            default_preset="demo",
            default_space="darts",
        ),
    ]


@hookimpl
def nasreg_spaces() -> Iterable[SpaceEntry]:
    """Return the space."""
    return [
        SpaceEntry(
            name="nasnet",
            summary="normal and reduction cells of five nodes, each adding two of 13 operations on any earlier states",
            paper=NASNET,
            factory="nasreg_nasnet.space:build",
            config="nasreg_nasnet.config:SpaceConfig",
            capabilities={"depth": "cells", "auxiliary": "auxiliary"},
            retrain={"phase": "retrain"},
            notation=Notation(
                prefix="NASNet(",
                example=NASNET_A,
                formatter="nasreg_nasnet.notation:format_text",
                parser="nasreg_nasnet.notation:parse_text",
            ),
        )
    ]


@hookimpl
def nasreg_genotypes() -> Iterable[GenotypeEntry]:
    """Return the published cells."""
    return [
        GenotypeEntry(
            name="NASNet_A",
            summary="NASNet-A, found on CIFAR-10; the recipes nasnet-a-... train the published networks of it",
            paper=NASNET,
            space="nasnet",
            genotype=NASNET_A,
        )
    ]


@hookimpl
def nasreg_recipes() -> Iterable[RecipeEntry]:
    """Return the recipes."""
    return [
        RecipeEntry(
            name="nasnet-cifar",
            summary="6 normal cells a stage, 32 channels, for CIFAR: 600 epochs, drop-path 0.4, auxiliary head, cutout",
            paper=NASNET,
            trainer=CIFAR,
            spaces={"nasnet": {"cells": 6, "channels": 32}},
            dataset={"cutout": 16},
        ),
        RecipeEntry(
            name="nasnet-a-cifar",
            summary="NASNet-A (6 @ 768) as published, 3.3 M parameters: nasnet-cifar other outputs of cells",
            paper=NASNET,
            trainer=CIFAR,
            spaces={"nasnet": {"cells": 6, "channels": 32, **PUBLISHED_CONCAT}},
            dataset={"cutout": 16},
        ),
        RecipeEntry(
            name="nasnet-a-mobile",
            summary="NASNet-A (4 @ 1056) as published, 5.3 M parameters, on images of 224 pixels, trained as by DARTS",
            paper=NASNET,
            trainer=IMAGENET,
            spaces={"nasnet": {"cells": 4, "channels": 44, "stem": "imagenet", **PUBLISHED_CONCAT}},
            dataset={**IMAGENET_IMAGES, "image_size": 224, "center_fraction": 224 / 256},
        ),
        RecipeEntry(
            name="nasnet-a-large",
            summary="NASNet-A (6 @ 4032) as published, 88.8 M parameters, on images of 331 pixels, trained as by DARTS",
            paper=NASNET,
            trainer={**IMAGENET, "drop_path": 0.3},
            spaces={
                "nasnet": {
                    "cells": 6,
                    "channels": 168,
                    "stem": "imagenet",
                    "stem_channels": 96,
                    "skip_reductions": True,
                    **PUBLISHED_CONCAT,
                }
            },
            dataset={**IMAGENET_IMAGES, "image_size": 331, "center_fraction": 0.875},
        ),
    ]
