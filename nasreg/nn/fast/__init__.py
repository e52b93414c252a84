"""The fast supernet; ``nasreg.nn.execution`` is the door to it.

The folder can be left out: choices then compute one candidate after the other, with the same numbers.

- ``mixture``: the weighted sum of candidates; ``structure`` reads what they are made of.
- ``partial``: edges with partial channels.
- ``fused``, ``blocks``, ``passes``: the sum of one node as one autograd function.
- ``convolution``, ``batch_norm``: both layers by faster algorithms.
- ``double_backward``: the door to ``second_order``, the cheap second derivative.
"""

from nasreg.nn.fast.autograd import add_zero, skip_grad_for
from nasreg.nn.fast.double_backward import fast_double_backward, requested
from nasreg.nn.fast.mixture import FastMixture, FastSharedInput
from nasreg.nn.fast.partial import PartialInput, PartialSum

__all__ = [
    "FastMixture",
    "FastSharedInput",
    "PartialInput",
    "PartialSum",
    "add_zero",
    "fast_double_backward",
    "requested",
    "skip_grad_for",
]
