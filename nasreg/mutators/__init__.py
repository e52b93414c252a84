"""Base classes of mutators: who decides the choices of a search space."""

from nasreg.mutators.base import OneShotMutator

__all__ = ["OneShotMutator"]
