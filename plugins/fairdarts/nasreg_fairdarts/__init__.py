"""FairDARTS, as a plugin for nasreg (Chu, Zhou, Zhang, Li, arXiv 1911.12126)."""

__version__ = "0.1.0"
