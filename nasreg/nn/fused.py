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

    def sum(self) -> Tensor:
        """Compute the sum."""
        return cast("Tensor", _Sum.apply(self.terms, *self.inputs))


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, terms: list[Term], *inputs: Tensor) -> Tensor:
        computation = Computation(terms, inputs)
        with torch._C.DisableTorchFunction():  # nobody needs to look at each of its many calls
            total = computation.forward()
        ctx.terms = terms
        ctx.count = len(inputs)
        ctx.save_for_backward(*inputs, *computation.pack())
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        kept = ctx.saved_tensors  # torch's checkpoints give them once only
        needs = wanted(ctx, kept[: ctx.count], 1)
        return None, *cast("Any", _Gradients.apply(ctx.terms, ctx.count, needs, gradients[0], *kept))


class _Gradients(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, terms: list[Term], count: int, needs: list[bool], gradient: Tensor, *kept: Tensor
    ) -> tuple[Tensor | None, ...]:
        computation = Computation(terms, kept[:count])
        computation.unpack(kept[count:])
        found = computation.backward(gradient, needs)
        ctx.terms = terms
        ctx.count = count
        ctx.sums = computation.sums
        ctx.save_for_backward(gradient, *kept)
        ctx.set_materialize_grads(False)
        return tuple(found)

    @staticmethod
    def backward(ctx: Any, *tangents: Tensor | None) -> Any:
        gradient, *kept = ctx.saved_tensors
        inputs = kept[: ctx.count]
        with torch.no_grad():
            computation = Computation(ctx.terms, inputs)
            computation.unpack(kept[ctx.count :])
            computation.sums = ctx.sums
            by_gradient, by_inputs = Tangents(computation, gradient, tangents, wanted(ctx, inputs, 4)).derivatives()
        found = last_derivatives([by_gradient, *by_inputs], [*tangents, gradient, *inputs])
        return None, None, None, *found, *[None] * (len(kept) - ctx.count)
