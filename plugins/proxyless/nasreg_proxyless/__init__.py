"""ProxylessNAS, as a plugin for nasreg (Cai, Zhu, Han, arXiv 1812.00332)."""

__version__ = "0.1.0"
