"""Choices to write into any ``nn.Module``, the search space they span, and the plain model they end as."""

from nasreg.nn.cell import Cell
from nasreg.nn.choices import Answer, Choice, InputChoice, LayerChoice, Scope
from nasreg.nn.extract import extract_space, named_choices
from nasreg.nn.freeze import freeze

__all__ = [
    "Answer",
    "Cell",
    "Choice",
    "InputChoice",
    "LayerChoice",
    "Scope",
    "extract_space",
    "freeze",
    "named_choices",
]
