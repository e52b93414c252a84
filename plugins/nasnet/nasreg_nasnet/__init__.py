"""NASNet (Zoph, Vasudevan, Shlens, Le, arXiv 1707.07012) for nasreg: its space, its controller, REINFORCE."""

__version__ = "0.1.0"
