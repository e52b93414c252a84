"""P-DARTS: Progressive Differentiable Architecture Search, as a plugin for nasreg (Chen et al., arXiv 1904.12760)."""

__version__ = "0.1.0"
