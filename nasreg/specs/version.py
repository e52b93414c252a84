"""The version of nasreg, for whatever needs it without importing the package root; ``pyproject.toml`` reads it here.

It is a constant and not looked up in the metadata of the installation: nasreg also runs from a source tree that has
none.
"""

from __future__ import annotations

__version__ = "0.2.0"
