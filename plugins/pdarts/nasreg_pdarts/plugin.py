"""What nasreg finds through the entry point: the P-DARTS algorithm as data. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from nasreg.hookspecs import hookimpl
from nasreg.specs import AlgorithmSpec, MutatorSpec, Preset, TrainerSpec

PAPER_SPACE = {"darts": {"cells": 5, "channels": 16}}


@hookimpl
def nasreg_algorithms() -> Iterable[AlgorithmSpec]:
    """Give the algorithm."""
    return [
        AlgorithmSpec(
            name="pdarts",
            summary="DARTS in stages of growing depth, with fewer candidates and dropout on skip connections",
            plugin_api=1,
            paper="Chen, Xie, Wu, Tian: Progressive Differentiable Architecture Search: Bridging the Depth Gap between"
            " Search and Evaluation, https://arxiv.org/abs/1904.12760",
            family="one-shot",
            primitives=frozenset({"layer", "input/sum", "input/mean", "cell"}),
            requires=frozenset({"depth", "edge_candidates"}),
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
                        "weights_lr": 0.1,
                        "alphas_lr": 6e-3,
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
