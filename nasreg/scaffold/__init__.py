"""Writes the package of a new plugin: see ``nasreg new-plugin``. Imports no torch."""

from __future__ import annotations

from nasreg.scaffold.writer import MAX_LENGTH, new_plugin

__all__ = ["MAX_LENGTH", "new_plugin"]
