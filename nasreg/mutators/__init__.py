"""Base classes and building blocks of mutators, which decide the choices of a search space."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasreg.mutators.base import Mutator, OneShotMutator
    from nasreg.mutators.config import GumbelMutatorConfig, SoftmaxMutatorConfig
    from nasreg.mutators.controller import (
        Policy,
        RecurrentPolicy,
        Rollouts,
        SequentialPolicy,
        TabularPolicy,
        bounded,
    )
    from nasreg.mutators.differentiable import (
        SkipCountingMutator,
        SoftmaxMutator,
        candidate_rows,
        collapse_warnings,
        count_operation,
        derive_cell,
    )
    from nasreg.mutators.gumbel import GumbelMutator, HardGumbelMutator
    from nasreg.mutators.multi_trial import MultiTrialMutator
    from nasreg.mutators.policy_gradient import MovingBaseline, PolicyGradient, PolicyLearner, Ppo
    from nasreg.mutators.sampling import SamplingMutator
    from nasreg.mutators.sigmoid import SigmoidMutator
    from nasreg.mutators.uniform import UniformMutator

_HOMES = {
    "base": ("Mutator", "OneShotMutator"),
    "config": ("GumbelMutatorConfig", "SoftmaxMutatorConfig"),
    "controller": ("Policy", "RecurrentPolicy", "Rollouts", "SequentialPolicy", "TabularPolicy", "bounded"),
    "differentiable": (
        "SkipCountingMutator",
        "SoftmaxMutator",
        "candidate_rows",
        "collapse_warnings",
        "count_operation",
        "derive_cell",
    ),
    "gumbel": ("GumbelMutator", "HardGumbelMutator"),
    "multi_trial": ("MultiTrialMutator",),
    "policy_gradient": ("MovingBaseline", "PolicyGradient", "PolicyLearner", "Ppo"),
    "sampling": ("SamplingMutator",),
    "sigmoid": ("SigmoidMutator",),
    "uniform": ("UniformMutator",),
}
_HOME = {name: f"nasreg.mutators.{module}" for module, names in _HOMES.items() for name in names}

__all__ = [
    "GumbelMutator",
    "GumbelMutatorConfig",
    "HardGumbelMutator",
    "MovingBaseline",
    "MultiTrialMutator",
    "Mutator",
    "OneShotMutator",
    "Policy",
    "PolicyGradient",
    "PolicyLearner",
    "Ppo",
    "RecurrentPolicy",
    "Rollouts",
    "SamplingMutator",
    "SequentialPolicy",
    "SigmoidMutator",
    "SkipCountingMutator",
    "SoftmaxMutator",
    "SoftmaxMutatorConfig",
    "TabularPolicy",
    "UniformMutator",
    "bounded",
    "candidate_rows",
    "collapse_warnings",
    "count_operation",
    "derive_cell",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
