"""ENAS (Pham, Guan, Zoph, Le, Dean, arXiv 1802.03268) for nasreg: its spaces, its controller, its search."""

__version__ = "0.1.0"
