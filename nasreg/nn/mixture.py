"""Weighted sums of candidates, computed fast: what every supernet is made of. The numbers are those of the plain sum.

Candidates are read as the sequences of ReLU, pooling, convolution and BatchNorm that they are; what is anything else is
called as it stands. Then

- what has no parameters (ReLU, pooling, pooling with BatchNorm without affine parameters) is computed once for each
  input, however many candidates on however many edges begin with it;
- a weight is folded into the scale of the BatchNorm that a candidate ends with;
- sums are made in place, and where the candidates allow it in one function (``nasreg.nn.fused``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasreg.nn import layers, norms
from nasreg.nn.fused import Terms
from nasreg.nn.kernels import Geometry, convolve, output_shape
from nasreg.nn.passes import Row, Term


@dataclass(frozen=True)
class Execution:
    """How choices compute the weighted sum of their candidates; the results are the same."""

    optimized: bool = True
    """Not one candidate after the other; see ``nasreg.nn.mixture``."""
    fuse_from: int = 2**17
    """So many numbers an image tensor must have that sums of candidates of it are one function, which keeps little:
    ``nasreg.nn.fused``. With fewer, that costs more time than it saves, but not where the second derivative is taken:
    within ``FastLayers`` all are."""
    checkpoint: bool = False
    """Keep the inputs of a choice only, and compute it again in the backward pass; see ``set_execution``."""


class Source:
    """An input of candidates, and what is computed of it once for all of them.

    Args:
        x: The input.
    """

    def __init__(self, x: Tensor) -> None:
        self._made: dict[tuple[Any, ...], Tensor] = {(): x}
        self._normalised: dict[tuple[Any, ...], tuple[Tensor, norms.Statistics]] = {}

    def begin(self, steps: Sequence[nn.Module]) -> tuple[Tensor, int]:
        """Return what the steps give that a candidate begins with and others may share, and how many they are."""
        key: tuple[Any, ...] = ()
        done = 0
        while done < len(steps) and (name := _shared_name(steps[done])) is not None:
            before, key = key, key + name
            if key not in self._made:
                self._made[key] = steps[done](self._made[before])
            done += 1
        norm = steps[done] if done == len(steps) - 1 else None
        if key and _is_norm(norm) and norm.training and not norm.affine and _many(self._made[key]):
            return self._normalise(key, norm), done + 1
        return self._made[key], done

    def _normalise(self, key: tuple[Any, ...], norm: nn.BatchNorm2d) -> Tensor:
        x = self._made[key]
        if (*key, norm.eps) not in self._normalised:
            self._normalised[(*key, norm.eps)] = norms.normalise(x, norms.Affine(None, None), norm.eps)
        output, (mean, inverse) = self._normalised[(*key, norm.eps)]
        norms.note_statistics(norm, mean, inverse**-2 - norm.eps, x.numel() // x.shape[1])
        return output


class Mixture:
    """The sum of outputs of candidates, each times its weight.

    Args:
        execution: How to compute it.
    """

    def __init__(self, execution: Execution) -> None:
        fast = layers.active()
        self._fuse_from = execution.fuse_from if fast is None else 0
        self._keep = fast is not None and fast.keep
        self._terms = Terms()
        self._shape: tuple[int, ...] | None = None
        self._rest: Tensor | None = None

    def add(self, weight: Tensor, candidate: nn.Module, source: Source) -> None:
        """Add the output of a candidate.

        Args:
            weight: A scalar.
            candidate: The candidate.
            source: Its input.
        """
        steps = _steps(candidate)
        x, done = source.begin(steps)
        if torch.is_autocast_enabled(x.device.type):  # it casts between the operations
            for step in steps[done:]:
                x = step(x)
            self._add(weight * x)
        elif not self._add_term(weight, steps[done:], x):
            for number, step in enumerate(steps[done:], done + 1):
                if number == len(steps) and _is_norm(step):
                    self._add(_scaled_norm(step, x, weight.to(x.dtype)))
                    return
                x = convolve(x, step.weight, Geometry.of(step)) if _is_conv(step) else step(x)
            self.add_tensor(weight, x)

    def add_tensor(self, weight: Tensor, x: Tensor) -> None:
        """Add a tensor that was computed already."""
        if not self._add_term(weight, [], x):
            self._add(weight * x)

    def _add_term(self, weight: Tensor, steps: Sequence[nn.Module], x: Tensor) -> bool:
        """Add a candidate that can be fused with others, where it is one."""
        if type(x) is not Tensor or x.dim() != 4 or x.numel() < self._fuse_from or not x.is_floating_point():
            return False
        read = _read(steps, tuple(x.shape))
        known = self._terms.inputs[0] if self._terms.inputs else x
        if read is None or (x.dtype, x.device) != (known.dtype, known.device):
            return False
        if self._shape not in (None, read.shape):
            return False
        self._shape = read.shape
        terms = self._terms
        place = terms.place(x)
        rows = tuple(
            Row(
                terms.norm(norm) if norm else None,
                relu,
                tuple(terms.place(conv.weight) for conv in convolutions),
                tuple(map(Geometry.of, convolutions)),
            )
            for norm, relu, convolutions in read.rows
        )
        terms.terms.append(Term(terms.place(weight), place, rows, terms.norm(read.norm) if read.norm else None))
        return True

    def _add(self, part: Tensor) -> None:
        if self._rest is not None and _alike(self._rest, part):
            self._rest.add_(part)
        else:  # torch broadcasts, or says what does not fit
            self._rest = part if self._rest is None else self._rest + part

    @property
    def total(self) -> Tensor:
        """The sum."""
        if self._terms.terms:
            self._add(self._terms.sum(keep=self._keep))
            self._terms = Terms()
        assert self._rest is not None  # noqa: S101  # every choice has at least one candidate
        return self._rest


def _alike(total: Tensor, part: Any) -> bool:
    kinds = ((x.shape, x.dtype, x.device) for x in (total, part)) if isinstance(part, Tensor) else (0, 1)
    return len(set(kinds)) == 1


def _scaled_norm(norm: nn.BatchNorm2d, x: Tensor, weight: Tensor) -> Tensor:
    """Return ``weight * norm(x)``."""
    if not _many(x):
        return weight * cast("Tensor", norm(x))  # which says what is wrong with it
    scale, shift = norms.weighted(weight, norms.Affine(norm.weight, norm.bias), x.shape[1])
    by_batch = norm.training or norm.running_mean is None
    if norm.training:
        norms.count_batch(norm)
    running = (norm.running_mean, norm.running_var) if not norm.training or norm.track_running_stats else (None, None)
    return F.batch_norm(x, *running, scale, shift, by_batch, norm.momentum or 0.0, norm.eps)


# What candidates are made of.


def _steps(module: nn.Module) -> list[nn.Module]:
    """Return the modules that a candidate calls one after the other."""
    if type(module) is nn.Sequential and len(module) > 0 and not _hooked(module):
        return [step for child in module for step in _steps(child)]
    return [module]


def _hooked(module: nn.Module) -> bool:
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks)


def _shared_name(step: nn.Module) -> tuple[Any, ...] | None:
    """Return what tells a step that has no parameters from others of its kind; None for any other step."""
    if _hooked(step):
        return None
    kind = type(step)
    if kind is nn.Identity:
        return ()
    if kind is nn.ReLU:
        return None if step.inplace else (kind,)
    if kind is nn.MaxPool2d and not step.return_indices:
        return (kind, step.kernel_size, step.stride, step.padding, step.dilation, step.ceil_mode)
    if kind is nn.AvgPool2d:
        sizes = (step.kernel_size, step.stride, step.padding)
        return (kind, *sizes, step.ceil_mode, step.count_include_pad, step.divisor_override)
    return None


def _is_conv(step: nn.Module) -> TypeGuard[nn.Conv2d]:
    if type(step) is not nn.Conv2d or _hooked(step):
        return False
    return step.bias is None and step.padding_mode == "zeros" and not isinstance(step.padding, str)


def _is_norm(step: nn.Module | None) -> TypeGuard[nn.BatchNorm2d]:
    if type(step) is not nn.BatchNorm2d or _hooked(step):
        return False
    return step.momentum is not None or not step.track_running_stats


def _many(x: Tensor) -> bool:
    """Return whether there is more than one value in a channel, so that they have a variance."""
    return x.dim() == 4 and x.numel() > x.shape[1]


class _Read(NamedTuple):
    """A candidate: rows of (BatchNorm or None, whether there is a ReLU, convolutions), and the BatchNorm in the end."""

    rows: list[tuple[nn.BatchNorm2d | None, bool, list[nn.Conv2d]]]
    norm: nn.BatchNorm2d | None
    shape: tuple[int, ...]
    """Of its output."""


def _read(steps: Sequence[nn.Module], shape: tuple[int, ...]) -> _Read | None:
    """Read a candidate in training, where it has that form; ``shape`` is that of its input."""
    found = _Read([], None, shape)
    place = 0

    def norm_at(place: int) -> nn.BatchNorm2d | None:
        step = steps[place]
        batch, _, height, width = found.shape
        return step if _is_norm(step) and step.training and batch * height * width > 1 else None

    while place < len(steps):
        norm = norm_at(place)
        if norm is not None and place == len(steps) - 1:
            return found._replace(norm=norm)
        place += norm is not None
        relu = type(steps[place]) is nn.ReLU and not _hooked(steps[place])
        place += relu
        convolutions: list[nn.Conv2d] = []
        while place < len(steps) and _is_conv(step := steps[place]):
            convolutions.append(step)
            found = found._replace(shape=output_shape(found.shape, step.weight, Geometry.of(step)))
            place += 1
        if not convolutions:
            return None
        found.rows.append((norm, relu, convolutions))
    return found


def fast_format(x: Tensor) -> Tensor:
    """Return a tensor in the memory format in which candidates are computed fastest: on a CPU channels-last."""
    if x.dim() != 4 or x.device.type != "cpu":
        return x
    return x.contiguous(memory_format=torch.channels_last)


def as_format(x: Tensor, like: Tensor) -> Tensor:
    """Return a tensor in the memory format of another, so that a model's own ``view`` works on it as before."""
    return x.contiguous() if like.is_contiguous() else x
