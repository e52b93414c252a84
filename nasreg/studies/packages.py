"""The optional packages of studies: one clear error before anything is run where one is missing."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from nasreg.errors import ConfigError
from nasreg.report.packages import missing_packages

PACKAGES = ("scipy", "scikit_posthocs")


def require_study_packages() -> None:
    """Check that a study can be judged and shown.

    Raises:
        ConfigError: A package of the extra ``nasreg[compare]`` is not installed.
    """
    missing = [name for name in PACKAGES if sys.modules.get(name) is None and find_spec(name) is None]
    missing += missing_packages()
    if missing:
        raise ConfigError(f'a study needs {" and ".join(missing)}: pip install "nasreg[compare]"')
