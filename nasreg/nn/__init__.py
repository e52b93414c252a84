"""Choices to write into any ``nn.Module``, the search space they span, and the plain network of an architecture."""

from nasreg.nn.answers import Answer, CellWeights, HardWeights, Weights
from nasreg.nn.auxiliary import AuxiliarySkips, add_auxiliary_skips
from nasreg.nn.candidates import ModuleFactory, deferred_candidates
from nasreg.nn.cell import Cell
from nasreg.nn.choices import Choice, LayerChoice, Scope, set_execution
from nasreg.nn.elastic import BatchNorm2d, Conv2d, LayerNorm, Linear
from nasreg.nn.embedding import Embedding
from nasreg.nn.execution import Execution, fast_double_backward, skip_grad_for
from nasreg.nn.extract import extract_space, named_choices
from nasreg.nn.freeze import freeze
from nasreg.nn.functional import functional_call_tied
from nasreg.nn.input_choice import InputChoice
from nasreg.nn.loose_ends import AfterLooseEnds, UnlessOneLooseEnd
from nasreg.nn.narrow import use_partial_channels
from nasreg.nn.parameters import parameter_count
from nasreg.nn.partial import PartialChannels
from nasreg.nn.recalibrate import batch_statistics, recalibrate_batch_norm, running_norms
from nasreg.nn.repeat import Repeat
from nasreg.nn.sites import CandidateSite, EdgeSite
from nasreg.nn.transforms import TransformHandle, candidate_sites, transform_candidates, transform_edges
from nasreg.nn.value_choice import Value, ValueChoice, ValueExpression

__all__ = [
    "AfterLooseEnds",
    "Answer",
    "AuxiliarySkips",
    "BatchNorm2d",
    "CandidateSite",
    "Cell",
    "CellWeights",
    "Choice",
    "Conv2d",
    "EdgeSite",
    "Embedding",
    "Execution",
    "HardWeights",
    "InputChoice",
    "LayerChoice",
    "LayerNorm",
    "Linear",
    "ModuleFactory",
    "PartialChannels",
    "Repeat",
    "Scope",
    "TransformHandle",
    "UnlessOneLooseEnd",
    "Value",
    "ValueChoice",
    "ValueExpression",
    "Weights",
    "add_auxiliary_skips",
    "batch_statistics",
    "candidate_sites",
    "deferred_candidates",
    "extract_space",
    "fast_double_backward",
    "freeze",
    "functional_call_tied",
    "named_choices",
    "parameter_count",
    "recalibrate_batch_norm",
    "running_norms",
    "set_execution",
    "skip_grad_for",
    "transform_candidates",
    "transform_edges",
    "use_partial_channels",
]
