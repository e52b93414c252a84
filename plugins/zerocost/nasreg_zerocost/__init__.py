"""Zero-cost scores of untrained networks as a plugin for nasreg (Abdelfattah et al., arXiv 2101.08134).

``score`` computes one outside of searches; it is loaded when it is first used, since look-ups import no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasreg_zerocost.catalog import MEASURES
    from nasreg_zerocost.scores import layer_scores, score

__version__ = "0.1.0"

_HOME = {"MEASURES": "catalog", "layer_scores": "scores", "score": "scores"}

__all__ = ["MEASURES", "layer_scores", "score"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
