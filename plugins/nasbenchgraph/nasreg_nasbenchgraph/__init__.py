"""NAS-Bench-Graph (Qin et al., arXiv 2206.09166) as a plugin for nasreg: its search space and its tables of results."""

__version__ = "0.1.0"
