"""Random search, the baseline of every comparison, as a plugin for nasreg (Li and Talwalkar, arXiv 1902.07638)."""

__version__ = "0.1.0"
