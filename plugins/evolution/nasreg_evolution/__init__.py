"""Evolution and local search as a plugin for nasreg."""

__version__ = "0.1.0"
