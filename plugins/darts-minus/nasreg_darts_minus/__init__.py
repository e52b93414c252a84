"""DARTS-, differentiable search with auxiliary skips, as a plugin for nasreg (Chu et al., arXiv 2009.01027)."""

__version__ = "0.1.0"
