"""The text form of architectures of the ShuffleNet space: the number of each block's candidate. Imports no torch.

As in the program of Guo et al. (arXiv 1904.00420): 0, 1 and 2 for the kernels 3, 5 and 7, and 3 for Xception.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from nasreg.specs.architecture import Architecture
from nasreg.specs.choices import LayerChoiceSpec
from nasreg.specs.space import SearchSpaceSpec


def format_numbers(space: SearchSpaceSpec, architecture: Architecture) -> str | None:
    """Return an architecture as text; None where there are more choices than those of the candidates."""
    numbers = []
    for choice in space.choices:
        if not isinstance(choice, LayerChoiceSpec):
            return None
        numbers.append(choice.candidates.index(str(architecture.decisions[choice.key])))
    return f"shufflenet({', '.join(map(str, numbers))})"


def parse_numbers(space: SearchSpaceSpec, text: str) -> Mapping[str, str]:
    """Return the decisions that a text describes.

    Raises:
        ValueError: It is malformed, or does not have a candidate for each choice of the space.
    """
    match = re.fullmatch(r"shufflenet\(\s*(\d+(?:\s*,\s*\d+)*)\s*,?\s*\)", text)
    if match is None:
        raise ValueError(f"{text[:60]!r} is not shufflenet(...) of numbers")
    numbers = [int(number) for number in match[1].split(",")]
    layers = [choice for choice in space.choices if isinstance(choice, LayerChoiceSpec)]
    if len(numbers) != len(space.choices):
        raise ValueError(f"it has {len(numbers)} numbers, and the space {len(space.choices)} choices")
    for choice, number in zip(layers, numbers, strict=True):
        if number >= len(choice.candidates):
            raise ValueError(f"{number} is no candidate of {choice.key!r}: there are {len(choice.candidates)}, from 0")
    return {choice.key: choice.candidates[number] for choice, number in zip(layers, numbers, strict=True)}
