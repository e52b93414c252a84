"""The structure of a user's model, by which an edit of its code is noticed when a run is resumed. Imports torch."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from nasreg.config.sources import SpaceSource
from nasreg.nn import named_choices
from nasreg.specs import DataInfo

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def model_structure(source: SpaceSource, options: Mapping[str, Any], info: DataInfo) -> dict[str, str]:
    """Return a digest of each candidate of a search space's model, and of the whole.

    A digest covers what modules print of themselves (classes, sizes, strides) and the shapes of their tensors, but not
    what their functions compute.

    Args:
        source: The search space.
        options: Its options.
        info: Shape of the images and the classes.

    Returns:
        ``"candidate NAME of choice KEY"`` -> digest, in the order of the model; ``"the model"`` comes last.
    """
    with torch.random.fork_rng():
        model = source.build(info, options)
    found: dict[str, list[str]] = {}
    for key, path, choice, _ in named_choices(model):
        for site, modules in choice.candidate_modules(key, path):
            found.setdefault(f"candidate {site.candidate!r} of choice {key!r}", []).append(
                _text(modules[site.candidate])
            )
    found["the model"] = [_text(model)]
    return {
        name: hashlib.blake2b("\n".join(texts).encode(), digest_size=16).hexdigest() for name, texts in found.items()
    }


def _text(module: nn.Module) -> str:
    shapes = [f"{name} {tuple(value.shape)}" for name, value in (*module.named_parameters(), *module.named_buffers())]
    return _ADDRESS.sub("", "\n".join([repr(module), *shapes]))
