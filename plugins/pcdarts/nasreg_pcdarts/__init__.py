"""PC-DARTS, differentiable search with partial channels, as a plugin for nasreg (Xu et al., arXiv 1907.05737)."""

__version__ = "0.1.0"
