"""The hooks of the plugin: its algorithms as data that name their code by string. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from nasreg.hookspecs import hookimpl
from nasreg.specs import PRIMITIVES, AlgorithmSpec, MutatorSpec, PluginInfo, Preset

DEMO_SPACES = {"darts": {"cells": 3, "channels": 8, "nodes": 3}, "chain": {"blocks": 3, "channels": 8}}
DEMO_TRAINING = {"epochs": 3, "batch_size": 64, "lr": 0.1}


@hookimpl
def nasreg_plugin() -> PluginInfo:
    """Return the version of the contract that the plugin was written for."""
    return PluginInfo(api=2)


@hookimpl
def nasreg_algorithms() -> Iterable[AlgorithmSpec]:
    """Return the algorithms."""
    return [_regularized_evolution(), _local_search(), _nsga2(), _large_scale_evolution()]


def _component(module: str, name: str) -> MutatorSpec:
    return MutatorSpec(factory=f"nasreg_evolution.{module}:{name}", config=f"nasreg_evolution.config:{name}Config")


def _regularized_evolution() -> AlgorithmSpec:
    return AlgorithmSpec(
        name="regularized-evolution",
        summary="aging evolution: the winner of a tournament has a child, and the oldest member dies",
        paper="Real, Aggarwal, Huang, Le: Regularized Evolution for Image Classifier Architecture Search,"
        " https://arxiv.org/abs/1802.01548",
        family="multi-trial",
        primitives=PRIMITIVES,
        mutator=_component("regularized", "RegularizedEvolution"),
        presets={
            "paper": Preset(
                summary="the paper's search: 20,000 trials of 25 epochs, population 100, sample 25; it took 450 GPUs"
                " seven days",
                mutator={"population": 100, "sample": 25, "identity": 0.05},
                trainer={"max_trials": 20_000},
                evaluator={"epochs": 25},
                spaces={"darts": {"cells": 11, "channels": 24}},
            ),
            "nasbench201": Preset(
                summary="the program of NAS-Bench-201 on its table: population 10, sample 3, 500 evaluations",
                space="nasbench201",
                mutator={"population": 10, "sample": 3},
                trainer={"max_trials": 500},
            ),
            "demo": Preset(
                summary="a real search of 12 small trials that ends within two minutes on two CPU cores",
                mutator={"population": 5, "sample": 2},
                trainer={"max_trials": 12},
                evaluator=DEMO_TRAINING,
                spaces=DEMO_SPACES,
            ),
        },
        default_preset="demo",
        default_space="darts",
    )


def _local_search() -> AlgorithmSpec:
    return AlgorithmSpec(
        name="local-search",
        summary="hill climbing over the neighbours of an architecture, with restarts",
        paper="White, Nolen, Savani: Exploring the Loss Landscape in Neural Architecture Search,"
        " https://arxiv.org/abs/2005.02960",
        family="multi-trial",
        primitives=PRIMITIVES,
        mutator=_component("local_search", "LocalSearch"),
        presets={
            "paper": Preset(
                summary="algorithm 1 of the paper, 300 evaluations: where each is a training, GPU-days",
                trainer={"max_trials": 300},
                evaluator={"epochs": 50},
            ),
            "naszilla": Preset(
                summary="as the authors' program is set by default: climbs begin at the best of 10 random architectures"
                " and move to the first better neighbour",
                mutator={"improvement": "first", "initial": 10},
                trainer={"max_trials": 150},
                evaluator={"epochs": 50},
            ),
            "nasbench201": Preset(
                summary="algorithm 1 of the paper on the table of NAS-Bench-201, 500 evaluations",
                space="nasbench201",
                trainer={"max_trials": 500},
            ),
            "demo": Preset(
                summary="a real search of 12 small trials that ends within two minutes on two CPU cores",
                mutator={"improvement": "first"},
                trainer={"max_trials": 12},
                evaluator=DEMO_TRAINING,
                spaces=DEMO_SPACES,
            ),
        },
        default_preset="demo",
        default_space="darts",
    )


def _nsga2() -> AlgorithmSpec:
    distinct = {"duplicates": "reject"}
    return AlgorithmSpec(
        name="nsga2",
        summary="NSGA-II: a Pareto front of the score and of parameters, multiply-accumulates or latency",
        paper="Deb, Pratap, Agarwal, Meyarivan: A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, IEEE"
        " Transactions on Evolutionary Computation 6(2), 2002, https://doi.org/10.1109/4235.996017",
        family="multi-trial",
        primitives=PRIMITIVES,
        mutator=_component("nsga2", "Nsga2"),
        presets={
            "paper": Preset(
                summary="the paper's setting: population 100, 250 generations, of which each trial may be a training:"
                " thousands of GPU-hours",
                trainer={"max_trials": 25_000, **distinct},
            ),
            "nasbench201": Preset(
                summary="accuracy and parameters on the table of NAS-Bench-201: population 50, 1,000 evaluations",
                space="nasbench201",
                mutator={"population": 50},
                trainer={"max_trials": 1000, **distinct},
            ),
            "demo": Preset(
                summary="a real search of 12 small trials that ends within two minutes on two CPU cores",
                mutator={"population": 4},
                trainer={"max_trials": 12, **distinct},
                evaluator=DEMO_TRAINING,
                spaces=DEMO_SPACES,
            ),
        },
        default_preset="demo",
        default_space="darts",
    )


def _large_scale_evolution() -> AlgorithmSpec:
    return AlgorithmSpec(
        name="large-scale-evolution",
        summary="networks that begin small and grow in tournaments of two, with the weights of their parents",
        paper="Real, Moore, Selle, Saxena, Suematsu, Tan, Le, Kurakin: Large-Scale Evolution of Image Classifiers,"
        " https://arxiv.org/abs/1703.01041",
        family="multi-trial",
        primitives=PRIMITIVES,
        mutator=_component("large_scale", "LargeScaleEvolution"),
        presets={
            "paper": Preset(
                summary="population 1000, trials of 25,600 steps of 50 images; the paper ran 250 workers for 11 days"
                " and states no number of trials",
                mutator={"population": 1000},
                trainer={"max_trials": 50_000},
                evaluator={
                    "epochs": 28,
                    "batch_size": 50,
                    "schedule": "constant",
                    "weight_decay": 1e-4,
                    "inherit_weights": True,
                },
            ),
            "nasbench201": Preset(
                summary="the tournaments on the table of NAS-Bench-201, where weights and learning rates have no"
                " effect: population 50, 500 evaluations",
                space="nasbench201",
                mutator={"population": 50, "initial": "random", "lr": None},
                trainer={"max_trials": 500},
            ),
            "demo": Preset(
                summary="a real search of 300 small trials that ends within two minutes on two CPU cores",
                mutator={"population": 20},
                trainer={"max_trials": 300},
                evaluator={"epochs": 2, "batch_size": 64, "schedule": "constant", "inherit_weights": True},
                spaces={**DEMO_SPACES, "elastic-chain": {"blocks": 4, "widths": [8, 16, 32]}},
            ),
        },
        default_preset="demo",
        default_space="elastic-chain",
    )
