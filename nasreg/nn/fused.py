"""The weighted sum of one node of a supernet as one function, which goes through memory as seldom as it can.

On a CPU the operations of a supernet are limited by memory, not by arithmetic. So the batch is taken in chunks that
stay in the cache, and each chunk goes through all that can be done with it: convolutions in a row, the sums that
BatchNorm needs of what they give, the addition to what other candidates gave. For the backward pass only the inputs of
BatchNorms are kept; what lies between them is computed again, chunk by chunk. The weight of a candidate is a factor of
the scale of its last BatchNorm.

The function can be differentiated twice: ``nasreg.nn.passes`` has the first derivative, ``nasreg.nn.tangents`` the
second.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Any, cast

import torch
from torch import Tensor, nn

from nasreg.nn.kernels import last_derivatives, wanted
from nasreg.nn.passes import Computation, Norm, Term
from nasreg.nn.tangents import Tangents


@dataclass
class Terms:
    """The terms of a sum, and the tensors that they are made of.

    Attributes:
        inputs: What the places in terms mean.
    """

    inputs: list[Tensor] = field(default_factory=list)
    terms: list[Term] = field(default_factory=list)
    _places: dict[int, int] = field(default_factory=dict)

    def place(self, tensor: Tensor) -> int:
        """Return the place of a tensor among the inputs."""
        if id(tensor) not in self._places:
            self._places[id(tensor)] = len(self.inputs)
            self.inputs.append(tensor)
        return self._places[id(tensor)]

    def norm(self, module: nn.BatchNorm2d) -> Norm:
        """Take a BatchNorm."""
        scale, shift = (None if p is None else self.place(p) for p in (module.weight, module.bias))
        return Norm(module, scale, shift)

    def sum(self, *, keep: bool) -> Tensor:
        """Compute the sum.

        Args:
            keep: Keep what a second derivative would compute again.
        """
        return cast("tuple[Tensor, Tensor]", _Sum.apply(self.terms, keep, *self.inputs))[0]


MOST_WAITING = 52
"""Sums of so many powers of two are exact."""


class _Waiting:
    """Second derivatives on their way through autograd, between the two passes of ``Tangents``.

    The second derivative of a sum takes part in a backward pass twice: first as the derivative of its gradient, which
    needs tangents of that, and later as the derivative of itself, which brings how the gradient by its output moves.
    Both of the second pass are computed at once then. What leaves a second derivative here gets a ticket, a power of
    two, which autograd carries as the gradient of an output that is there for nothing else (and adds up, where there
    are several).
    """

    def __init__(self) -> None:
        self._tangents: dict[int, Tangents] = {}

    def leave(self, tangents: Tangents) -> Tensor:
        """Return the ticket."""
        place = next(number for number in count() if number not in self._tangents)
        if place > MOST_WAITING:
            raise RuntimeError(
                f"{place} second derivatives of a sum of candidates were begun and not ended: compute the graph again"
            )
        self._tangents[place] = tangents
        return torch.tensor(2.0**place, dtype=torch.float64)

    def take(self, tickets: Tensor) -> list[Tangents]:
        """Return what the tickets stand for, and forget it."""
        places = [place for place in self._tangents if int(tickets) >> place & 1]
        return [self._tangents.pop(place) for place in places]


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, terms: list[Term], keep: bool, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        computation = Computation(terms, inputs, keep=keep)
        with torch._C.DisableTorchFunction():  # nobody needs to look at each of its many calls
            total = computation.forward()
        tickets = torch.zeros((), dtype=torch.float64)
        ctx.terms = terms
        ctx.keep = keep
        ctx.count = len(inputs)
        ctx.waiting = _Waiting()
        ctx.save_for_backward(tickets, *inputs, *computation.pack())
        ctx.set_materialize_grads(False)
        return total, tickets

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, tickets: Tensor | None) -> Any:
        if tickets is not None:
            return None, None, *_second_derivatives(ctx, gradient, ctx.waiting.take(tickets))
        if gradient is None:
            return None, None, *[None] * ctx.count
        own, *kept = ctx.saved_tensors  # torch's checkpoints give them once only
        needs = wanted(ctx, kept[: ctx.count], 2)
        found = _Gradients.apply(ctx.waiting, ctx.terms, ctx.keep, ctx.count, needs, gradient, own, *kept)
        return None, None, *cast("Any", found)


def _second_derivatives(ctx: Any, gradient: Tensor | None, waiting: list[Tangents]) -> list[Tensor | None]:
    """Return the sum of those by each input, and of the gradient that comes with them."""
    found: list[Tensor | None] = [None] * ctx.count
    sources = [gradient, *(source for tangents in waiting for source in tangents.sources)]
    with torch.no_grad():
        for tangents in waiting:
            needs = wanted(ctx, tangents.inputs, 2)
            own = tangents.backward(gradient, needs)
            found = [b if a is None else a if b is None else a + b for a, b in zip(found, own, strict=True)]
            gradient = None  # it is in the first
    return last_derivatives(found, sources)


class _Gradients(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        waiting: _Waiting,
        terms: list[Term],
        keep: bool,
        count: int,
        needs: list[bool],
        gradient: Tensor,
        tickets: Tensor,
        *kept: Tensor,
    ) -> tuple[Tensor | None, ...]:
        del tickets
        computation = Computation(terms, kept[:count], keep=keep)
        computation.unpack(kept[count:])
        found = computation.backward(gradient, needs)
        ctx.sizes, passed = computation.pack_passed()
        ctx.waiting = waiting
        ctx.terms = terms
        ctx.keep = keep
        ctx.counts = count, len(kept)
        ctx.save_for_backward(gradient, *kept, *passed)
        ctx.set_materialize_grads(False)
        return tuple(found)

    @staticmethod
    def backward(ctx: Any, *by: Tensor | None) -> Any:
        gradient, *saved = ctx.saved_tensors
        inputs, kept = ctx.counts
        with torch.no_grad():
            computation = Computation(ctx.terms, saved[:inputs], keep=ctx.keep)
            computation.unpack(saved[inputs:kept])
            computation.unpack_passed(ctx.sizes, saved[kept:])
            tangents = Tangents(computation, gradient, by)
            moved = tangents.forward()
        [moved] = last_derivatives([moved], tangents.sources)
        return *[None] * 5, moved, ctx.waiting.leave(tangents), *[None] * kept
