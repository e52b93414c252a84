"""Measures that need the shape of images at most: SynFlow, parameters, multiply-accumulates. Higher is better."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from nasreg.nn import parameter_count
from nasreg_zerocost.layers import LayerScores, by_layer, gradients, main_output, weights_of


def synflow(network: nn.Module, shape: Sequence[int]) -> LayerScores:
    """Return the sum of |w * dR/dw|, R the sum of the outputs for an image of ones (Tanaka et al., arXiv 2006.05467).

    All parameters are replaced by their absolute values, BatchNorm by the identity, and it is computed in float64. It
    grows by orders of magnitude with the depth.

    Source: ``synflow`` of github.com/SamsungLabs/zero-cost-nas, commit a43bfbc.

    Args:
        network: It is changed.
        shape: ``(C, H, W)``.
    """
    remove_batch_norm(network)
    return synflow_bn(network, shape)


def synflow_bn(network: nn.Module, shape: Sequence[int]) -> LayerScores:
    """Return SynFlow with BatchNorm, which uses the statistics of the one image; see ``synflow``."""
    network.double()
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.abs_()
    weights = weights_of(network)
    ones = torch.ones(1, *shape, dtype=torch.float64, device=device_of(network))
    flows = gradients(main_output(network(ones)).sum(), list(weights.values()))
    return by_layer(
        list(weights), [(weight * flow).abs() for weight, flow in zip(weights.values(), flows, strict=True)]
    )


def parameters(network: nn.Module) -> float:
    """Return the number of parameters."""
    return float(parameter_count(network))


def macs(network: nn.Module, shape: Sequence[int]) -> float:
    """Return the multiply-accumulates of convolutions and matrix products for one image of a shape ``(C, H, W)``."""
    image = torch.zeros(1, *shape, dtype=dtype_of(network), device=device_of(network))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(image)
    return float(counter.get_total_flops() // 2)  # an addition and a multiplication each


def remove_batch_norm(network: nn.Module) -> None:
    """Let each BatchNorm in a network return its input."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.forward = _identity  # type: ignore[method-assign]  # it keeps its place and its parameters


def _identity(input: Tensor) -> Tensor:  # noqa: A002  # the name of BatchNorm's argument
    return input


def device_of(network: nn.Module) -> torch.device:
    """Return the device of a network; the CPU for one without parameters."""
    first: Tensor | None = next(network.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def dtype_of(network: nn.Module) -> torch.dtype:
    """Return the precision of a network; torch's default for one without parameters."""
    first: Tensor | None = next(network.parameters(), None)
    return torch.get_default_dtype() if first is None else first.dtype
