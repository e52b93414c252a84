"""What nasreg finds through the entry point: the DARTS algorithm as data. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from nasreg.hookspecs import hookimpl
from nasreg.specs import AlgorithmSpec, MutatorSpec, Preset, TrainerSpec

PAPER_SPACE = {"cells": 8, "channels": 16}


@hookimpl
def nasreg_algorithms() -> Iterable[AlgorithmSpec]:
    """Give the algorithm."""
    return [
        AlgorithmSpec(
            name="darts",
            summary="gradient descent on a continuous relaxation of the architecture, first and second order",
            plugin_api=1,
            paper="Liu, Simonyan, Yang: DARTS: Differentiable Architecture Search, https://arxiv.org/abs/1806.09055",
            family="one-shot",
            primitives=frozenset({"layer", "input/sum", "input/mean", "cell"}),
            mutator=MutatorSpec(
                factory="nasreg_darts.mutator:DartsMutator", config="nasreg_darts.config:DartsMutatorConfig"
            ),
            trainer=TrainerSpec(
                factory="nasreg_darts.trainer:DartsTrainer", config="nasreg_darts.config:DartsTrainerConfig"
            ),
            presets={
                "paper": Preset(
                    summary="the search of the paper, first order: 50 epochs, 8 cells, 16 channels",
                    seed=2,
                    spaces={"darts": PAPER_SPACE},
                ),
                "paper-second-order": Preset(
                    summary="the same with the unrolled second order",
                    seed=2,
                    trainer={"second_order": True},
                    spaces={"darts": PAPER_SPACE},
                ),
                "demo": Preset(
                    summary="a real search that ends within two minutes on two CPU cores",
                    trainer={"epochs": 20, "batch_size": 64, "weights_lr": 0.1, "alphas_lr": 3e-3},
                    spaces={"darts": {"cells": 3, "channels": 8, "nodes": 3}, "chain": {"blocks": 3, "channels": 8}},
                    dataset={"validation_fraction": 0.2},
                ),
            },
            default_preset="paper",
            default_space="darts",
        )
    ]
