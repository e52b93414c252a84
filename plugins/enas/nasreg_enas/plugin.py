"""The hooks of the plugin: ENAS and its spaces as data that names its code by string. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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
    TrainerSpec,
)

PAPER = (
    "Pham, Guan, Zoph, Le, Dean: Efficient Neural Architecture Search via Parameter Sharing,"
    " https://arxiv.org/abs/1802.03268"
)

MICRO = "enas-micro: 0 2 0 0 0 4 0 1 0 4 1 1 1 0 0 1 0 2 1 1 1 0 1 0 0 3 0 2 1 1 3 1 1 0 0 4 0 3 1 1"

MACRO = (
    "enas-macro: 0"
    " 3 0"
    " 0 1 0"
    " 2 0 0 1"
    " 2 0 0 0 0"
    " 3 1 1 0 1 0"
    " 2 0 0 0 0 0 1"
    " 2 0 1 1 0 1 1 1"
    " 1 0 1 1 1 0 1 0 1"
    " 0 0 0 0 0 0 0 0 0 0"
    " 2 0 0 0 0 0 1 0 0 0 0"
    " 0 1 0 0 1 1 0 0 0 0 1 1"
    " 2 0 1 0 0 0 0 0 1 0 1 1 0"
    " 1 0 0 1 0 0 0 1 1 1 0 1 0 1"
    " 0 1 1 0 1 0 1 0 0 0 0 0 1 0 0"
    " 2 0 0 1 0 0 0 0 0 0 0 1 0 1 0 1"
    " 2 0 1 0 0 0 1 0 0 1 1 1 1 0 0 1 0"
    " 2 0 0 0 0 1 0 1 0 1 0 0 1 0 1 0 0 1"
    " 3 0 1 1 0 1 0 0 0 0 0 1 0 1 0 1 0 0 0"
    " 3 0 1 1 0 0 0 0 0 0 0 0 0 1 1 0 0 0 0 1"
    " 0 1 0 0 1 0 1 1 0 0 0 1 0 0 0 0 0 1 1 0 0"
    " 3 0 1 0 1 1 0 0 1 0 1 1 0 1 1 0 1 0 0 1 0 0"
    " 0 1 0 1 0 1 0 0 0 0 0 0 0 0 1 0 1 0 0 1 0 0 0"
    " 0 1 1 0 0 0 1 1 1 0 1 0 0 0 1 0 1 0 0 1 1 0 0 0"
)

MACRO_CONTROLLER: dict[str, Any] = {
    "tanh_constant": 1.5,
    "op_tanh_reduce": 1.0,
    "learned_bias": None,
    "fixed_bias": 0.0,
    "entropy": "sampled",
}

IMAGES: dict[str, Any] = {"crop_padding": 4, "flip": True}
"""What the program does to the images of the train split."""


@hookimpl
def nasreg_plugin() -> PluginInfo:
    """Return the version of the contract that the plugin was written for."""
    return PluginInfo(api=2)


@hookimpl
def nasreg_algorithms() -> Iterable[AlgorithmSpec]:
    """Return the algorithm."""
    return [
        AlgorithmSpec(
            name="enas",
            summary="an LSTM draws architectures that share weights, and learns from their accuracy with these weights",
            paper=PAPER,
            family="one-shot",
            primitives=PRIMITIVES,
            splits=frozenset({"arch"}),
            mutator=MutatorSpec(
                factory="nasreg_enas.mutator:EnasMutator", config="nasreg_enas.config:EnasMutatorConfig"
            ),
            trainer=TrainerSpec(
                factory="nasreg_enas.trainer:EnasTrainer", config="nasreg_enas.config:EnasTrainerConfig"
            ),
            presets={
                "code-micro": Preset(
                    summary="the search of cells of the authors' program: 150 epochs, 6 cells, 20 channels",
                    space="enas-micro",
                    spaces={"enas-micro": {"cells": 6, "channels": 20}},
                    dataset={**IMAGES, "arch_fraction": 0.1},
                ),
                "code-macro": Preset(
                    summary="the search of whole networks of the authors' program: 310 epochs, 12 layers, 36 channels",
                    space="enas-macro",
                    mutator=MACRO_CONTROLLER,
                    trainer={
                        "epochs": 310,
                        "batch_size": 128,
                        "weight_decay": 5e-4,
                        "controller_lr": 1e-3,
                        "controller_steps": 50,
                        "aggregate": 20,
                    },
                    spaces={"enas-macro": {"layers": 12, "channels": 36}},
                    dataset={**IMAGES, "arch_fraction": 0.1},
                ),
                "paper": Preset(
                    summary="what the text of the paper says, as recalled: 310 epochs, tanh constant 2.5, temperature"
                    " 5, 2000 controller steps an epoch",
                    mutator={
                        "tanh_constant": 2.5,
                        "op_tanh_reduce": 1.0,
                        "temperature": 5.0,
                        "learned_bias": None,
                        "fixed_bias": 0.0,
                    },
                    trainer={
                        "epochs": 310,
                        "batch_size": 128,
                        "lr_min": 1e-3,
                        "controller_lr": 3.5e-4,
                        "controller_steps": 2000,
                        "aggregate": 1,
                        "entropy_weight": 0.1,
                    },
                    spaces={
                        "enas-micro": {"cells": 6, "channels": 20},
                        "enas-macro": {"layers": 12, "channels": 36},
                    },
                    dataset={**IMAGES, "arch_fraction": 0.1},
                ),
                "nasbench201": Preset(
                    summary="NAS-Bench-201 in its published size, with the options of its authors' program: 310 epochs",
                    space="nasbench201",
                    mutator={**MACRO_CONTROLLER, "tanh_constant": 2.5, "temperature": 5.0},
                    trainer={
                        "epochs": 310,
                        "batch_size": 128,
                        "restart_factor": 1,
                        "weight_decay": 2.5e-4,
                        "controller_lr": 1e-3,
                        "controller_steps": 50,
                        "aggregate": 20,
                        "samples": 100,
                    },
                    dataset={**IMAGES, "arch_fraction": 0.5},
                ),
                "demo": Preset(
                    summary="a real search of a small space that takes about a minute on two CPU cores",
                    trainer={
                        "epochs": 20,
                        "batch_size": 16,
                        "lr": 0.1,
                        "restart": None,
                        "grad_clip": 5.0,
                        "controller_steps": 8,
                        "aggregate": 5,
                        "controller_lr": 0.01,
                    },
                    spaces={
                        "enas-micro": {
                            "cells": 1,
                            "channels": 16,
                            "nodes": 2,
                            "candidates": ["sep_conv_3x3", "max_pool_3x3", "skip_connect"],
                        },
                        "enas-macro": {"layers": 4, "channels": 12},
                        "darts": {"cells": 3, "channels": 8, "nodes": 2},
                        "chain": {"blocks": 3, "channels": 8},
                    },
                    dataset={"validation_fraction": 0.2, "arch_fraction": 0.25},
                ),
            },
            default_preset="demo",
            default_space="enas-micro",
        )
    ]


@hookimpl
def nasreg_spaces() -> Iterable[SpaceEntry]:
    """Return both spaces."""
    return [
        SpaceEntry(
            name="enas-micro",
            summary="normal and reduction cells of five nodes, each adding two of five operations on earlier states",
            paper=PAPER,
            factory="nasreg_enas.micro:build",
            config="nasreg_enas.config:MicroConfig",
            capabilities={"depth": "cells", "auxiliary": "auxiliary", "nodes": "nodes"},
            retrain={"phase": "retrain"},
            notation=Notation(
                prefix="enas-micro:",
                example=MICRO,
                formatter="nasreg_enas.notation:format_micro",
                parser="nasreg_enas.notation:parse_micro",
                options="nasreg_enas.notation:micro_options",
            ),
        ),
        SpaceEntry(
            name="enas-macro",
            summary="a network of 12 layers, each with one of six operations and any connections from earlier layers",
            paper=PAPER,
            factory="nasreg_enas.macro:build",
            config="nasreg_enas.config:MacroConfig",
            retrain={"phase": "retrain"},
            notation=Notation(
                prefix="enas-macro:",
                example="enas-macro: 1 2 0 0 1 0",
                formatter="nasreg_enas.notation:format_macro",
                parser="nasreg_enas.notation:parse_macro",
                options="nasreg_enas.notation:macro_options",
            ),
        ),
    ]


@hookimpl
def nasreg_genotypes() -> Iterable[GenotypeEntry]:
    """Return the published architectures."""
    return [
        GenotypeEntry(
            name="ENAS_micro",
            summary="the cells that the authors' program trains; recipe enas-micro",
            paper=PAPER,
            space="enas-micro",
            genotype=MICRO,
        ),
        GenotypeEntry(
            name="ENAS_macro",
            summary="the network of 24 layers that the authors' program trains; recipe enas-macro",
            paper=PAPER,
            space="enas-macro",
            genotype=MACRO,
        ),
    ]


@hookimpl
def nasreg_recipes() -> Iterable[RecipeEntry]:
    """Return the recipes, those of the authors' program but for their schedule, which is one cosine here."""
    return [
        RecipeEntry(
            name="enas-micro",
            summary="15 normal cells, 36 channels, for CIFAR: 630 epochs, drop-path 0.4, auxiliary head; 3.9 M"
            " parameters with ENAS_micro",
            paper=PAPER,
            trainer={
                "epochs": 630,
                "batch_size": 144,
                "lr": 0.05,
                "lr_min": 1e-4,
                "weight_decay": 4e-4,
                "drop_path": 0.4,
                "auxiliary_weight": 0.4,
            },
            spaces={"enas-micro": {"cells": 15, "channels": 36, "dropout": 0.2}},
            dataset=IMAGES,
        ),
        RecipeEntry(
            name="enas-macro",
            summary="96 channels, for CIFAR: 310 epochs, dropout 0.5; 42.6 M parameters with ENAS_macro",
            paper=PAPER,
            trainer={
                "epochs": 310,
                "batch_size": 100,
                "lr": 0.05,
                "lr_min": 1e-3,
                "weight_decay": 4e-4,
                "drop_path": 0.0,
                "auxiliary_weight": 0.0,
            },
            spaces={"enas-macro": {"channels": 96, "dropout": 0.5}},
            dataset=IMAGES,
        ),
    ]
