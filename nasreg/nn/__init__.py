"""Choices to write into any ``nn.Module``, the search space they span, and the plain model they end as."""

from nasreg.nn.cell import Cell
from nasreg.nn.choices import Answer, Choice, InputChoice, LayerChoice, Scope, set_execution
from nasreg.nn.extract import extract_space, named_choices
from nasreg.nn.freeze import freeze
from nasreg.nn.functional import call_with
from nasreg.nn.kernels import leaving_out
from nasreg.nn.layers import FastLayers
from nasreg.nn.mixture import Execution

__all__ = [
    "Answer",
    "Cell",
    "Choice",
    "Execution",
    "FastLayers",
    "InputChoice",
    "LayerChoice",
    "Scope",
    "call_with",
    "extract_space",
    "freeze",
    "leaving_out",
    "named_choices",
    "set_execution",
]
