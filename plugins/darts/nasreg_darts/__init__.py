"""DARTS: Differentiable Architecture Search, as a plugin for nasreg (Liu, Simonyan, Yang, arXiv 1806.09055)."""

__version__ = "0.1.0"
