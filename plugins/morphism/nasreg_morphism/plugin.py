"""The hooks of the plugin: two algorithms as data that name their code by string. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from nasreg.hookspecs import hookimpl
from nasreg.specs import AlgorithmSpec, MutatorSpec, PluginInfo, Preset

PRIMITIVES = frozenset({"repeat", "value", "input"})
INHERIT = {"inherit_weights": True, "inherit_function": "nasreg_morphism.weights:inherit"}
START = {"start_blocks": 3, "start_width": 64, "start_kernel": 3, "start_stride": 2}
LARGE = {"elastic-chain": {"blocks": 12, "widths": [64, 128, 256], "kernels": [1, 3, 5]}}
SMALL = {"elastic-chain": {"blocks": 6, "widths": [8, 16, 32], "kernels": [1, 3]}}
DEMO = {**INHERIT, "epochs": 4, "batch_size": 64, "lr": 0.05}


@hookimpl
def nasreg_plugin() -> PluginInfo:
    """Return the version of the contract that the plugin was written for."""
    return PluginInfo(api=2)


@hookimpl
def nasreg_algorithms() -> Iterable[AlgorithmSpec]:
    """Return both algorithms."""
    return [
        AlgorithmSpec(
            name="morphism",
            summary="network morphisms, guided by Bayesian optimisation over the edit distance of networks",
            paper="Jin, Song, Hu: Auto-Keras: An Efficient Neural Architecture Search System,"
            " https://arxiv.org/abs/1806.10282",
            family="multi-trial",
            primitives=PRIMITIVES,
            requires=frozenset({"elastic_chain"}),
            mutator=MutatorSpec(
                factory="nasreg_morphism.morphism:MorphismMutator", config="nasreg_morphism.config:MorphismConfig"
            ),
            presets={
                "paper": Preset(
                    summary="the settings of Auto-Keras' program: 3 blocks of width 64 to begin with, 8 neighbours, UCB"
                    " 2.576; 12 GPU-hours in the paper, here 100 trials of up to 200 epochs: days on one GPU",
                    mutator=START,
                    trainer={"max_trials": 100, "max_parameters": 2**25},
                    evaluator={**INHERIT, "epochs": 200, "batch_size": 128, "optimizer": "adamw", "lr": 0.001},
                    spaces=LARGE,
                ),
                "program": Preset(
                    summary="as paper, with the two kernels that Auto-Keras' program fits and predicts with",
                    mutator={**START, "kernel": "program", "noise": 1e-10},
                    trainer={"max_trials": 100, "max_parameters": 2**25},
                    evaluator={**INHERIT, "epochs": 200, "batch_size": 128, "optimizer": "adamw", "lr": 0.001},
                    spaces=LARGE,
                ),
                "demo": Preset(
                    summary="a real search of 12 small trials that ends within two minutes on two CPU cores",
                    trainer={"max_trials": 12},
                    evaluator=DEMO,
                    spaces=SMALL,
                ),
            },
            default_preset="demo",
            default_space="elastic-chain",
        ),
        AlgorithmSpec(
            name="hill-climbing",
            summary="network morphisms of the best network so far, trained briefly; the best of them is the next",
            paper="Elsken, Metzen, Hutter: Simple and Efficient Architecture Search for Convolutional Neural Networks,"
            " https://arxiv.org/abs/1711.04528",
            family="multi-trial",
            primitives=PRIMITIVES,
            requires=frozenset({"elastic_chain"}),
            mutator=MutatorSpec(
                factory="nasreg_morphism.hill_climbing:HillClimbingMutator",
                config="nasreg_morphism.config:HillClimbingConfig",
            ),
            presets={
                "paper": Preset(
                    summary="5 steps of 8 networks, 5 morphs each, 17 epochs each; about 12 GPU-hours in the paper",
                    mutator={"neighbours": 8, "morphs": 5, "start_blocks": 4, "start_width": 64, "start_kernel": 3},
                    trainer={"max_trials": 1 + 5 * 8},
                    evaluator={**INHERIT, "epochs": 17, "batch_size": 128, "lr": 0.05, "weight_decay": 5e-4},
                    spaces=LARGE,
                ),
                "demo": Preset(
                    summary="a real search, 3 steps of 4 networks, that ends within two minutes on two CPU cores",
                    mutator={"neighbours": 4, "morphs": 2},
                    trainer={"max_trials": 1 + 3 * 4},
                    evaluator=DEMO,
                    spaces=SMALL,
                ),
            },
            default_preset="demo",
            default_space="elastic-chain",
        ),
    ]
