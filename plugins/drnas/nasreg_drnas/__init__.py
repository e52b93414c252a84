"""DrNAS: Dirichlet Neural Architecture Search, as a plugin for nasreg (Chen et al., arXiv 2006.10355)."""

__version__ = "0.1.0"
