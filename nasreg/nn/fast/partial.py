"""The edges with partial channels into a node, computed together: the numbers are those of ``nasreg.nn.partial``.

Concatenation and shuffle are linear and the same for all edges into a node. So the channels that go through candidates
are added up over all edges, as in a node without partial channels, and those that go past them likewise, and the
channels of the sum are shuffled once. The candidates' input is a contiguous copy, made once for each state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from nasreg.nn.fast.convolution import layout
from nasreg.nn.fast.double_backward import differentiable_grads
from nasreg.nn.fast.mixture import FastMixture, FastSharedInput
from nasreg.nn.fast.passes import inner_product
from nasreg.nn.mixture import Part, SharedInput
from nasreg.nn.partial import PartialChannels, pooled, shuffle_channels


class PartialInput:
    """A state as the input of edges with partial channels.

    Args:
        x: The state, ``(B, C, H, W)``.
        transform: The partial channels.
    """

    def __init__(self, x: Tensor, transform: PartialChannels) -> None:
        self.n = transform.n_mixed(x)
        narrow, whole = cast("tuple[Tensor, Tensor]", _Split.apply(x, self.n))
        self.mixed = FastSharedInput(narrow)
        """The first channels, which go through the candidates."""
        self._past = {whole.shape[2:]: whole}

    def past(self, shape: torch.Size) -> Tensor:
        """Return the state, of which the first channels do not count, in the size of the candidates' output."""
        if shape[2:] not in self._past:
            self._past[shape[2:]] = pooled(next(iter(self._past.values())), shape)
        return self._past[shape[2:]]


class PartialSum:
    """The sum of the edges with partial channels into a node.

    Args:
        choice: Name of the choice, for error messages.
        transform: The partial channels, the same on all edges.
        min_fused_numel: See ``FastMixture``.
    """

    def __init__(self, choice: str, transform: PartialChannels, min_fused_numel: int) -> None:
        self.mixture = FastMixture(choice, min_fused_numel)
        """What goes through the candidates: add it here, times the weights of the edges."""
        self.k = transform.k
        self._transform = transform
        self._pasts: list[Tensor] = []
        self._weights: list[Tensor | None] = []

    def input(self, x: SharedInput) -> PartialInput:
        """Return a state as the input of edges like these; it is made once."""
        if self.k not in x.parts:
            x.parts[self.k] = PartialInput(x.x, self._transform)
        return cast("PartialInput", x.parts[self.k])

    def add_past(self, part: Part, weight: Tensor | None, x: PartialInput, shape: torch.Size) -> None:
        """Add the channels that go past the candidates of an edge.

        Args:
            part: The edge, for error messages.
            weight: Its weight, a scalar; None for 1.
            x: The state that it starts from.
            shape: Shape of its candidates' output.

        Raises:
            SpaceError: The candidates change the number of channels, or edges differ in shape.
        """
        self._transform.check_mixed(shape, x.n)
        self.mixture.check_same_shape(part, shape)
        self._pasts.append(x.past(shape))
        self._weights.append(weight)

    def result(self) -> Tensor:
        """Return the sum."""
        mixed = self.mixture.result()
        return cast("Tensor", _Join.apply(self.k, len(self._pasts), mixed, *self._weights, *self._pasts))


class _Split(torch.autograd.Function):
    """The first channels of an image, contiguous, and the image. Only ``_Join`` and pooling may read the latter."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, n: int) -> Any:
        ctx.n, ctx.shape = n, x.shape
        ctx.set_materialize_grads(False)
        return x[:, :n].contiguous(memory_format=layout(x)), x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        narrow, whole = grads
        if narrow is None:
            return whole, None
        if whole is None or torch.is_grad_enabled():
            padded = torch.nn.functional.pad(narrow, (0, 0, 0, 0, 0, ctx.shape[1] - ctx.n))
            return padded if whole is None else padded + whole, None
        whole[:, : ctx.n] += narrow  # a tensor that ``_Join`` or pooling made for this purpose
        return whole, None


class _Join(torch.autograd.Function):
    """The weighted sum of the channels past the candidates, with the mixed channels in front, shuffled."""

    @staticmethod
    def forward(ctx: Any, k: int, n_edges: int, mixed: Tensor | None, *tensors: Tensor | None) -> Tensor:
        weights, pasts = tensors[:n_edges], cast("Sequence[Tensor]", tensors[n_edges:])
        ctx.k, ctx.n_edges, ctx.mixed_shape = k, n_edges, None if mixed is None else mixed.shape
        ctx.save_for_backward(*tensors)
        with torch._C.DisableTorchFunction():
            total = torch.empty_like(pasts[0])
            if weights[0] is None:
                total.copy_(pasts[0])
            else:
                torch.mul(pasts[0], weights[0], out=total)
            for past, weight in zip(pasts[1:], weights[1:], strict=True):
                _add(total, past, weight)
            front = total[:, : total.shape[1] // k]
            if mixed is None:
                front.zero_()
            else:
                front.copy_(mixed)
            return _shuffled(total, k)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        tensors, needs = ctx.saved_tensors, ctx.needs_input_grad[2:]
        if torch.is_grad_enabled():
            # Linear in the mixed channels: no gradient depends on their values, which are not kept.
            shape = ctx.mixed_shape
            mixed = None if shape is None else grads[0].new_zeros(shape).requires_grad_(needs[0])
            return None, None, *differentiable_grads(_formula(ctx.k, ctx.n_edges), [mixed, *tensors], grads[0], needs)
        weights, pasts = tensors[: ctx.n_edges], tensors[ctx.n_edges :]
        channels = grads[0].shape[1]
        # The inverse of a shuffle is one of as many groups as there were channels in a group.
        grad = _shuffled(grads[0].contiguous(memory_format=layout(pasts[0])), channels // ctx.k)
        front = grad[:, : channels // ctx.k]
        by_mixed = front.contiguous(memory_format=layout(pasts[0])) if needs[0] else None
        front.zero_()
        by_weights = [
            inner_product(grad, past) if need else None
            for past, need in zip(pasts, needs[1 : 1 + ctx.n_edges], strict=True)
        ]
        by_pasts = [
            (grad.clone() if weight is None else grad * weight) if need else None
            for weight, need in zip(weights, needs[1 + ctx.n_edges :], strict=True)
        ]
        return None, None, by_mixed, *by_weights, *by_pasts


def _shuffled(x: Tensor, groups: int) -> Tensor:
    """Return an image with its channels shuffled, in its own memory format."""
    if x.device.type != "cpu" or layout(x) != torch.channels_last:
        return torch.channel_shuffle(x, groups)
    # Faster than torch's kernel where there are few channels.
    batch, channels, height, width = x.shape
    order = torch.arange(channels).view(groups, -1).t().flatten()
    pixels = x.permute(0, 2, 3, 1).view(-1, channels).index_select(1, order)
    return pixels.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _add(total: Tensor, past: Tensor, weight: Tensor | None) -> None:
    if weight is None:
        total.add_(past)
    else:
        total.addcmul_(past, weight)


def _formula(k: int, n_edges: int) -> Any:
    """Return what ``_Join`` computes as a function of its tensors, in torch's own operations."""

    def compute(mixed: Tensor | None, *tensors: Tensor | None) -> Tensor:
        weights, pasts = tensors[:n_edges], cast("Sequence[Tensor]", tensors[n_edges:])
        n = pasts[0].shape[1] // k
        terms = [
            past[:, n:] if weight is None else weight * past[:, n:] for weight, past in zip(weights, pasts, strict=True)
        ]
        total = torch.stack(terms).sum(0)
        front = total.new_zeros((len(total), n, *total.shape[2:])) if mixed is None else mixed
        return shuffle_channels(torch.cat([front, total], 1), k)

    return compute
