"""Base classes of mutators: who decides the choices of a search space."""

from nasreg.mutators.base import Mutator, OneShotMutator
from nasreg.mutators.trials import Trial, TrialMutator

__all__ = ["Mutator", "OneShotMutator", "Trial", "TrialMutator"]
