"""The optional packages of drawings and pages: which are missing, and one clear error where one is needed."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from nasreg.errors import ConfigError

PACKAGES = ("matplotlib", "jinja2")


def missing_packages() -> list[str]:
    """Return the packages of the extra ``nasreg[report]`` that are not installed, without importing any."""
    return [name for name in PACKAGES if not _is_installed(name)]


def require_drawing_packages() -> None:
    """Check that drawings can be made.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    if not _is_installed("matplotlib"):
        raise ConfigError('drawings need a package: pip install "nasreg[report]"')


def require_page_packages() -> None:
    """Check that the page of a run, which has drawings in it, can be made.

    Raises:
        ConfigError: matplotlib or jinja2 is not installed.
    """
    require_drawing_packages()
    if not _is_installed("jinja2"):
        raise ConfigError('the report page needs a package: pip install "nasreg[report]"')


def _is_installed(name: str) -> bool:
    if name in sys.modules:
        return sys.modules[name] is not None
    return find_spec(name) is not None
