"""Single Path One-Shot as a plugin for nasreg."""

__version__ = "0.1.0"
