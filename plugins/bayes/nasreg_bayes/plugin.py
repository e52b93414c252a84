"""The hooks of the plugin: its algorithms as data that name their code by string. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from nasreg.hookspecs import hookimpl
from nasreg.specs import PRIMITIVES, AlgorithmSpec, MutatorSpec, PluginInfo, Preset, TrainerSpec

DEMO_SPACES = {
    "darts": {"cells": 3, "channels": 8, "nodes": 3},
    "chain": {"blocks": 3, "channels": 8},
    "nasbench201": {"cells": 1, "channels": 8},
}
SMALL_SPACES = {"darts": {"cells": 8, "channels": 16}}


@hookimpl
def nasreg_plugin() -> PluginInfo:
    """Return the version of the contract that the plugin was written for."""
    return PluginInfo(api=2)


@hookimpl
def nasreg_algorithms() -> Iterable[AlgorithmSpec]:
    """Return the algorithms."""
    return [_bayes_opt(), _successive_halving(), _hyperband()]


def _bayes_opt() -> AlgorithmSpec:
    return AlgorithmSpec(
        name="bayes-opt",
        summary="Bayesian optimisation: a surrogate learns which architecture promises the largest improvement",
        paper="Snoek, Larochelle, Adams: Practical Bayesian Optimization of Machine Learning Algorithms,"
        " https://arxiv.org/abs/1206.2944",
        family="multi-trial",
        primitives=PRIMITIVES,
        mutator=MutatorSpec(factory="nasreg_bayes.bayes_opt:BayesOpt", config="nasreg_bayes.config:BayesOptConfig"),
        trainer=TrainerSpec(
            factory="nasreg.trainers:MultiTrialTrainer", config="nasreg_bayes.config:BayesOptTrainerConfig"
        ),
        presets={
            "paper": Preset(
                summary="a Gaussian process on standardised scores and the expected improvement, as in arXiv 1206.2944;"
                " 100 trials of 50 epochs take GPU-days",
                mutator={"surrogate": "gp", "acquisition": "ei", "targets": "values"},
                trainer={"max_trials": 100},
                evaluator={"epochs": 50},
                spaces=SMALL_SPACES,
            ),
            "bananas": Preset(
                summary="budget and acquisition of BANANAS (arXiv 1910.11858): 150 trials of 50 epochs (GPU-days),"
                " independent Thompson sampling; the ensemble is a random forest instead of neural networks",
                mutator={"surrogate": "forest", "acquisition": "thompson", "targets": "values", "initial": 10},
                trainer={"max_trials": 150},
                evaluator={"epochs": 50},
                spaces=SMALL_SPACES,
            ),
            "smac": Preset(
                summary="a random forest of 10 trees and the expected improvement, as SMAC (arXiv 2109.09831); 100"
                " trials of 50 epochs take GPU-days",
                mutator={"surrogate": "forest", "trees": 10, "acquisition": "ei", "targets": "values"},
                trainer={"max_trials": 100},
                evaluator={"epochs": 50},
                spaces=SMALL_SPACES,
            ),
            "nasbench201": Preset(
                summary="the defaults on the table of NAS-Bench-201, 100 evaluations",
                space="nasbench201",
                trainer={"max_trials": 100},
            ),
            "demo": Preset(
                summary="a real search of 12 small trials that ends within two minutes on two CPU cores",
                mutator={"initial": 5},
                trainer={"max_trials": 12},
                evaluator={"epochs": 3, "batch_size": 64, "lr": 0.1},
                spaces=DEMO_SPACES,
            ),
        },
        default_preset="demo",
        default_space="darts",
    )


def _successive_halving() -> AlgorithmSpec:
    return AlgorithmSpec(
        name="successive-halving",
        summary="rungs of ever fewer architectures, each evaluated with ever more effort",
        paper="Jamieson, Talwalkar: Non-stochastic Best Arm Identification and Hyperparameter Optimization,"
        " https://arxiv.org/abs/1502.07943",
        family="multi-trial",
        primitives=PRIMITIVES,
        mutator=MutatorSpec(
            factory="nasreg_bayes.halving:SuccessiveHalving", config="nasreg_bayes.config:SuccessiveHalvingConfig"
        ),
        trainer=_HALVING_TRAINER,
        evaluator="training",
        fidelity=True,
        presets={
            "paper": Preset(
                summary="eta 2 as in the paper: 64 architectures for one epoch, 32 for two, ... one for 64; GPU-days",
                mutator={"architectures": 64, "eta": 2},
                trainer={"max_trials": 127},
                evaluator={"epochs": 64},
                spaces=SMALL_SPACES,
            ),
            "demo": Preset(
                summary="a real search of 8 architectures for one epoch, 4 for two, 2 for four and one for eight,"
                " within two minutes on two CPU cores",
                mutator={"architectures": 8, "eta": 2},
                trainer={"max_trials": 15},
                evaluator={"epochs": 8, "batch_size": 64, "lr": 0.1},
                spaces=DEMO_SPACES,
            ),
        },
        default_preset="demo",
        default_space="darts",
    )


def _hyperband() -> AlgorithmSpec:
    return AlgorithmSpec(
        name="hyperband",
        summary="brackets of successive halving, from many architectures with little effort to few with all of it",
        paper="Li, Jamieson, DeSalvo, Rostamizadeh, Talwalkar: Hyperband: A Novel Bandit-Based Approach to"
        " Hyperparameter Optimization, https://arxiv.org/abs/1603.06560",
        family="multi-trial",
        primitives=PRIMITIVES,
        mutator=MutatorSpec(factory="nasreg_bayes.halving:Hyperband", config="nasreg_bayes.config:HyperbandConfig"),
        trainer=_HALVING_TRAINER,
        evaluator="training",
        fidelity=True,
        presets={
            "paper": Preset(
                summary="all brackets of the paper's example once: R = 81 epochs, eta 3; 1,902 epochs in 206 trials"
                " take GPU-days",
                mutator={"max_resource": 81, "eta": 3},
                trainer={"max_trials": 206},
                evaluator={"epochs": 81},
                spaces=SMALL_SPACES,
            ),
            "bohb": Preset(
                summary="as BOHB (arXiv 1807.01774): eta 3, architectures of a surrogate but for a third; all brackets"
                " of R = 27 epochs twice take GPU-days",
                mutator={"max_resource": 27, "eta": 3, "sampler": "bayes", "random_fraction": 1 / 3},
                trainer={"max_trials": 138},
                evaluator={"epochs": 27},
                spaces=SMALL_SPACES,
            ),
            "demo": Preset(
                summary="a real search, all brackets of R = 4 epochs and eta 2, within two minutes on two CPU cores",
                mutator={"max_resource": 4, "eta": 2},
                trainer={"max_trials": 14},
                evaluator={"epochs": 4, "batch_size": 64, "lr": 0.1},
                spaces=DEMO_SPACES,
            ),
        },
        default_preset="demo",
        default_space="darts",
    )


_HALVING_TRAINER = TrainerSpec(
    factory="nasreg_bayes.trainer:HalvingTrainer", config="nasreg.trainers:MultiTrialTrainerConfig"
)
