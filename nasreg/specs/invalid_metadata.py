"""Keeps the invalid metadata of one installed package from stopping the libraries that nasreg is built on.

pydantic when it builds its first model, torch and triton when they are imported, and others look for plugins of their
own with ``importlib.metadata.entry_points``. It raises where any distribution has an invalid line in its entry points,
so that none of these libraries can be used. The registry reads the entry points of its own plugins in another way
(``nasreg.registry.distributions``); this module is for what those libraries do.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator
from typing import Any

from pydantic import create_model


def tolerate_invalid_metadata() -> None:
    """Let ``importlib.metadata`` pass over distributions that it cannot read, in this process.

    Nothing is changed where all can be read. It has to be called before torch is imported.
    """
    try:
        if "PYDANTIC_DISABLE_PLUGINS" in os.environ:
            importlib.metadata.entry_points()
        else:  # the same by way of pydantic, which has to do it in any case: a look-up has no time to do it twice
            create_model("_First")
    except Exception:  # noqa: BLE001  # UnicodeDecodeError, TypeError and whatever else a damaged file leads to
        every_distribution = importlib.metadata.distributions

        def readable_distributions(**context: Any) -> Iterator[importlib.metadata.Distribution]:
            for distribution in every_distribution(**context):
                try:
                    _ = distribution.entry_points, distribution.name
                except Exception:  # noqa: BLE001, S112
                    continue
                yield distribution

        importlib.metadata.distributions = readable_distributions
