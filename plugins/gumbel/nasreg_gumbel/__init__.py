"""GDAS (Dong, Yang, arXiv 1910.04465) and SNAS (Xie, Zheng, Liu, Lin, arXiv 1812.09926), as a plugin for nasreg."""

__version__ = "0.1.0"
