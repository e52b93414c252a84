"""A cheap exact second derivative of an optimised supernet; ``nasreg.nn.fast.double_backward`` is the door to it.

The folder can be left out: torch then differentiates its own operations, which takes more time and memory.
"""

from nasreg.nn.fast.second_order.batch_norm import batch_norm_grads
from nasreg.nn.fast.second_order.convolution import convolution_grads
from nasreg.nn.fast.second_order.fused import fused_sum_grads, fused_sum_second_derivatives
from nasreg.nn.fast.second_order.layers import FastDoubleBackward, requested

__all__ = [
    "FastDoubleBackward",
    "batch_norm_grads",
    "convolution_grads",
    "fused_sum_grads",
    "fused_sum_second_derivatives",
    "requested",
]
