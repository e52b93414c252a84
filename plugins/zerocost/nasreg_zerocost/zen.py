"""The Zen-score: how much the features of a network with random weights change with its input.

Lin et al.: Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition, arXiv 2102.01063; the authors' program is
``ZeroShotProxy/compute_zen_score.py`` of github.com/idstcv/ZenNAS (commit d1d617e). A higher value is better.
Difference: their networks have a method that returns the features before the global pooling; here the pooling is found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nasreg_zerocost.calls import watch
from nasreg_zerocost.data_free import device_of, dtype_of
from nasreg_zerocost.layers import ScoreError

_aten = torch.ops.aten
_ADAPTIVE = frozenset({_aten._adaptive_avg_pool2d.default, _aten.adaptive_max_pool2d.default})
_FIXED = frozenset({_aten.avg_pool2d.default, _aten.max_pool2d_with_indices.default})
_REDUCTIONS = frozenset({_aten.mean.dim, _aten.amax.default})

BATCH_SIZE = 16
REPEATS = 32
GAMMA = 0.01


def zen(
    network: nn.Module,
    shape: Sequence[int],
    *,
    batch_size: int = BATCH_SIZE,
    repeats: int = REPEATS,
    gamma: float = GAMMA,
) -> float:
    """Return the mean Zen-score of some draws of weights and images, from torch's generator.

    The running variances of BatchNorm go on from draw to draw, as in the authors' program.

    Args:
        network: Its weights are drawn anew; in training mode.
        shape: ``(C, H, W)``.
        batch_size: Images of a draw.
        repeats: Number of draws.
        gamma: How far the second image is from the first.

    Raises:
        ScoreError: The network does not end in a global pooling, or has a BatchNorm without running statistics.
    """
    scores = []
    device, dtype = device_of(network), dtype_of(network)
    for _ in range(repeats):
        draw_weights(network)
        images, noise = (torch.randn(batch_size, *shape, device=device, dtype=dtype) for _ in range(2))
        scores.append(zen_of(network, images, noise, gamma))
    return math.fsum(scores) / repeats


def zen_of(network: nn.Module, images: Tensor, noise: Tensor, gamma: float) -> float:
    """Return log mean_b sum |f(x) - f(x + gamma * noise)| + sum log sqrt(mean running variance), over all BatchNorm.

    Args:
        network: In training mode; its running statistics change.
        images: x, ``(B, C, H, W)``.
        noise: ``(B, C, H, W)``.
        gamma: Share of the noise.

    Raises:
        ScoreError: As ``zen``.
    """
    with torch.no_grad():
        features = features_before_pooling(network, images)
        moved = features_before_pooling(network, images + gamma * noise)
        change = (features - moved).abs().flatten(1).sum(1).mean().log()
        scales = []
        for name, module in network.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                if module.running_var is None:
                    raise ScoreError(f"zen needs running statistics, which {name or 'the BatchNorm'} does not have")
                scales.append(module.running_var.mean().sqrt().log())
    return float(change + sum(scales))


def draw_weights(network: nn.Module) -> None:
    """Draw weights of convolutions and linear layers from N(0, 1); biases are 0, scales of normalisations 1."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight)
        elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            if module.weight is not None:
                nn.init.ones_(module.weight)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def features_before_pooling(network: nn.Module, images: Tensor) -> Tensor:
    """Return the input ``(B, C, H, W)`` of the last global pooling of a network, a module or a function.

    Raises:
        ScoreError: It has none.
    """
    features: list[Tensor] = []

    def see(operation: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        pools = operation in _ADAPTIVE and tuple(args[1]) == (1, 1)
        if operation in _FIXED:
            pools = tuple(args[1]) == tuple(args[0].shape[-2:])
        if operation in _REDUCTIONS and args[0].dim() == 4:
            dims = args[1] if len(args) > 1 else kwargs.get("dim") or ()
            pools = sorted(dim % 4 for dim in dims) == [2, 3]
        if pools:
            features[:] = [args[0].clone()]

    watch(network, images, see)
    if not features:
        raise ScoreError("zen needs a network that ends in a global pooling of (B, C, H, W): choose another measure")
    return features[0]
