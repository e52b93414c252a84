"""Bayesian optimisation, successive halving and Hyperband as a plugin for nasreg."""

__version__ = "0.1.0"
