"""The measures by name, for one network, outside of searches or in them."""

from __future__ import annotations

import copy
import math
import pkgutil
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasreg.errors import UnknownNameError, UsageError, did_you_mean
from nasreg_zerocost.catalog import MEASURES, Measure, MeasureName
from nasreg_zerocost.layers import Loss, ScoreError


def score(
    network: nn.Module,
    measure: MeasureName,
    inputs: Tensor | None = None,
    targets: Tensor | None = None,
    *,
    loss: Loss = F.cross_entropy,
    **options: Any,
) -> float:
    """Return a zero-cost score of a network, which is left as it is. Higher is better.

    Computed are a copy of the network in training mode, and what the measure needs, in the precision of both.

    Args:
        network: Takes images ``(B, C, H, W)``; returns logits ``(B, classes)``, or a tuple that begins with them.
        measure: Name of the measure, one of ``nasreg_zerocost.MEASURES``.
        inputs: Images ``(B, C, H, W)``. Of synflow, synflow_bn, zen and macs only the shape ``(C, H, W)`` matters;
            parameters needs none.
        targets: Labels ``(B,)``, for grad_norm, snip, grasp, fisher and plain.
        loss: Mean loss of logits and labels, for the same.
        **options: Options of zen: ``batch_size``, ``repeats`` and ``gamma``.

    Raises:
        UnknownNameError: There is no such measure.
        UsageError: Images or labels are missing.
        ScoreError: The network has no such score, or one that is not finite.
    """
    value = _compute(network, measure, inputs, targets, loss, options)
    total = math.fsum(float(each) for each in value.values()) if isinstance(value, Mapping) else value
    if not math.isfinite(total):
        raise ScoreError(f"{measure} is {total}: {_why(value, total)}")
    return total


def layer_scores(
    network: nn.Module,
    measure: MeasureName,
    inputs: Tensor | None = None,
    targets: Tensor | None = None,
    *,
    loss: Loss = F.cross_entropy,
) -> dict[str, float]:
    """Return the share of each convolution and linear layer in a score, by name; takes what ``score`` does.

    Raises:
        UsageError: As ``score``, or the measure is not a sum over layers: jacob_cov, naswot, zen, parameters, macs.
    """
    value = _compute(network, measure, inputs, targets, loss, {})
    if not isinstance(value, Mapping):
        raise UsageError(f"measure {measure!r} is not a sum over layers: use score(...)")
    return {name: float(each) for name, each in value.items()}


def find_measure(name: str) -> Measure:
    """Return a measure by name.

    Raises:
        UnknownNameError: There is no such measure.
    """
    for known, measure in MEASURES.items():
        if known == name:
            return measure
    raise UnknownNameError(f"there is no zero-cost measure {name!r}.{did_you_mean(name, MEASURES)}")


def _compute(
    network: nn.Module,
    name: str,
    inputs: Tensor | None,
    targets: Tensor | None,
    loss: Loss,
    options: Mapping[str, Any],
) -> Mapping[str, Tensor] | float:
    measure = find_measure(name)
    if inputs is None and measure.needs != "nothing":
        what = "images" if measure.needs != "shape" else "images, for their shape"
        raise UsageError(f"measure {name!r} needs inputs: {what}")
    if targets is None and measure.needs == "labels":
        raise UsageError(f"measure {name!r} needs targets: the labels of the inputs")
    needed: tuple[Any, ...] = ()
    if inputs is not None:
        by_need: dict[str, tuple[Any, ...]] = {
            "labels": (inputs, targets, loss),
            "images": (inputs,),
            "shape": (tuple(inputs.shape[1:]),),
            "nothing": (),
        }
        needed = by_need[measure.needs]
    with torch.enable_grad():
        value: Mapping[str, Tensor] | float = pkgutil.resolve_name(measure.function)(
            copy.deepcopy(network).train(), *needed, **options
        )
    return value


def _why(value: Mapping[str, Tensor] | float, total: float) -> str:
    if isinstance(value, Mapping):
        layer = next((name for name, each in value.items() if not math.isfinite(float(each))), None)
        return f"the first layer whose share is not finite is {layer}" if layer else "its sum over layers overflows"
    if math.isnan(total):
        return "the network computes what is no number"
    return "the network does not tell the images apart" if total < 0 else "the network's values overflow"
