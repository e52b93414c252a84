"""The weighted sum of candidates' outputs, computed fast: the numbers are those of ``nasreg.nn.mixture``.

Candidates are read as sequences of ReLU, pooling, convolution and BatchNorm (``structure``); everything else is called.

- Modules without parameters at the beginning (ReLU, pooling, pooling with BatchNorm without affine parameters) are
  computed once per input, however many candidates on however many edges start with them.
- The weight of a candidate is folded into the scale of its last BatchNorm.
- Sums are computed in place, and as one function where the candidates allow it (``fused``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasreg.nn import mixture
from nasreg.nn.fast import batch_norm, double_backward
from nasreg.nn.fast.blocks import Candidate, ConvBlock
from nasreg.nn.fast.convolution import Geometry, convolve
from nasreg.nn.fast.fused import FusedSum
from nasreg.nn.fast.pooling import average, can_average
from nasreg.nn.fast.structure import (
    FusedForm,
    Signature,
    alters_input,
    flatten,
    fused_form,
    has_variance,
    is_conv,
    is_norm,
    signature,
)
from nasreg.nn.mixture import Part


class FastSharedInput(mixture.SharedInput):
    """An input of several candidates, and what is computed of it once for all of them."""

    def __init__(self, x: Tensor) -> None:
        super().__init__(x)
        self._computed: dict[Signature, Tensor] = {(): x}
        self._normalized: dict[Signature, tuple[Tensor, batch_norm.Statistics]] = {}

    def prefix(self, steps: Sequence[nn.Module]) -> tuple[Tensor, int]:
        """Compute the first modules of a candidate, as far as other candidates may share them.

        Returns:
            Their output, and how many they are.
        """
        signatures: list[Signature] = []
        for step in steps:
            if (own := signature(step)) is None:
                break
            signatures.append(own)
        done = len(signatures)
        if any(signatures) and done < len(steps) and alters_input(steps[done]):
            # What follows works in place: it gets a tensor of its own.
            while not signatures[done - 1]:
                done -= 1
            done -= 1
        key: Signature = ()
        for step, own in zip(steps, signatures[:done], strict=False):
            before, key = key, key + own
            if key not in self._computed:
                self._computed[key] = _without_parameters(step, self._computed[before])
        norm = steps[done] if done == len(steps) - 1 else None
        if key and is_norm(norm) and norm.training and not norm.affine and has_variance(self._computed[key]):
            return self._normalize(key, norm), done + 1
        return self._computed[key], done

    def _normalize(self, key: Signature, norm: nn.BatchNorm2d) -> Tensor:
        x = self._computed[key]
        if (*key, norm.eps) not in self._normalized:
            self._normalized[(*key, norm.eps)] = batch_norm.normalize(x, batch_norm.Affine(None, None), norm.eps)
        output, (mean, invstd) = self._normalized[(*key, norm.eps)]
        batch_norm.update_running_stats(norm, mean, invstd**-2 - norm.eps, x.numel() // x.shape[1])
        return output


class FastMixture(mixture.Mixture):
    """A weighted sum of outputs.

    Args:
        choice: Name of the choice, for error messages.
        min_fused_numel: Number of elements that an image tensor must have for its candidates to be fused.
    """

    def __init__(self, choice: str, min_fused_numel: int) -> None:
        super().__init__(choice)
        requested = double_backward.requested()
        self._min_fused_numel = min_fused_numel if requested is None else 0
        self._keep_activations = requested is not None and requested.keep_activations
        self._fused = FusedSum()
        self._sum: Tensor | None = None
        self._in_place = False  # whether the sum is a tensor that nobody else holds

    def add(self, part: Part, weight: Tensor | None, candidate: nn.Module, x: mixture.SharedInput) -> None:
        """Add the output of a candidate; arguments and errors as in ``nasreg.nn.mixture``."""
        steps = flatten(candidate)
        start, done = cast("FastSharedInput", x).prefix(steps)
        steps = steps[done:]
        if torch.is_autocast_enabled(start.device.type):  # autocast casts between the operations
            self._add(part, weight, self._call(part, steps, start))
        elif weight is None or not self._fuse(part, weight, steps, start):
            if weight is not None and steps and is_norm(norm := steps[-1]):
                before = self._call(part, steps[:-1], start)
                self._add(part, None, _scaled_norm(norm, before, weight.to(before.dtype)), new=True)
            else:
                self.add_tensor(part, weight, self._call(part, steps, start))

    def add_tensor(self, part: Part, weight: Tensor | None, output: Tensor) -> None:
        """Add a tensor; arguments and errors as in ``nasreg.nn.mixture``."""
        if weight is None or not self._fuse(part, weight, [], output):
            self._add(part, weight, output)

    def result(self) -> Tensor | None:
        """Return the sum, or None if nothing was added."""
        if self._fused.candidates:
            self._accumulate(self._fused.compute(keep_activations=self._keep_activations), new=True)
        return self._sum

    def _call(self, part: Part, steps: Sequence[nn.Module], x: Tensor) -> Tensor:
        """Compute modules in a row, and refuse them if they alter their input."""
        autocast = torch.is_autocast_enabled(x.device.type)

        def call(x: Tensor) -> Tensor:
            for step in steps:
                x = convolve(x, step.weight, Geometry.of(step)) if is_conv(step) and not autocast else step(x)
            return x

        output: Tensor = mixture.call_candidate(self.choice, part, call, x)
        return output

    def _fuse(self, part: Part, weight: Tensor, steps: Sequence[nn.Module], x: Tensor) -> bool:
        """Add a candidate to the fused sum, if it can be fused."""
        if type(x) is not Tensor or x.dim() != 4 or x.numel() < self._min_fused_numel or not x.is_floating_point():
            return False
        form = fused_form(steps, tuple(x.shape))
        first = self._fused.inputs[0] if self._fused.inputs else x
        if form is None or (x.dtype, x.device) != (first.dtype, first.device):
            return False
        self.check_same_shape(part, torch.Size(form.shape))
        self._fused.candidates.append(_candidate(self._fused, weight, x, form))
        return True

    def _add(self, part: Part, weight: Tensor | None, output: Tensor, *, new: bool = False) -> None:
        self.check_shape(part, output)
        self._accumulate(output if weight is None else weight * output, new=new or weight is not None)

    def _accumulate(self, output: Tensor, *, new: bool) -> None:
        total = self._sum
        if total is None:
            self._sum, self._in_place = output, new
        elif self._in_place and (total.dtype, total.device) == (output.dtype, output.device):
            total.add_(output)
        else:
            self._sum, self._in_place = total + output, True


def _without_parameters(step: nn.Module, x: Tensor) -> Tensor:
    """Compute a module without parameters."""
    return average(step, x) if type(step) is nn.AvgPool2d and can_average(step, x) else cast("Tensor", step(x))


def _candidate(fused: FusedSum, weight: Tensor, x: Tensor, form: FusedForm) -> Candidate:
    source = fused.slot(x)
    blocks = tuple(
        ConvBlock(
            fused.batch_norm(norm) if norm else None,
            relu,
            tuple(fused.slot(conv.weight) for conv in convolutions),
            tuple(map(Geometry.of, convolutions)),
        )
        for norm, relu, convolutions in form.blocks
    )
    return Candidate(fused.slot(weight), source, blocks, fused.batch_norm(form.norm) if form.norm else None)


def _scaled_norm(norm: nn.BatchNorm2d, x: Tensor, weight: Tensor) -> Tensor:
    """Return ``weight * norm(x)``."""
    if not has_variance(x):
        return weight * cast("Tensor", norm(x))  # torch says why it refuses the batch
    scale, shift = batch_norm.scaled_affine(weight, batch_norm.Affine(norm.weight, norm.bias), x.shape[1])
    by_batch = norm.training or norm.running_mean is None
    if norm.training:
        batch_norm.count_batch(norm)
    running = (norm.running_mean, norm.running_var) if not norm.training or norm.track_running_stats else (None, None)
    return F.batch_norm(x, *running, scale, shift, by_batch, norm.momentum or 0.0, norm.eps)
