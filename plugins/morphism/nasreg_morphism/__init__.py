"""Network morphism as a plugin for nasreg: Auto-Keras (arXiv 1806.10282) and hill climbing (arXiv 1711.04528)."""

__version__ = "0.1.0"
