"""The operations of the DARTS cell space (arXiv 1806.09055, section 3.1.1, and the authors' program).

Every convolution is ReLU-Conv-BatchNorm. ``affine`` says whether BatchNorm learns scale and shift: not during a search,
where they would rescale what the alphas weigh.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def relu_conv_bn(
    c_in: int, c_out: int, kernel: int, *, stride: int = 1, padding: int = 0, affine: bool
) -> nn.Sequential:
    """ReLU, convolution, BatchNorm: ``(B, c_in, H, W)`` to ``(B, c_out, H / stride, W / stride)``."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(c_out, affine=affine),
    )


class FactorizedReduce(nn.Module):
    """Halves height and width without losing a pixel: two 1x1 convolutions of stride 2, one shifted by a pixel.

    ``(B, c_in, H, W)`` to ``(B, c_out, ceil(H / 2), ceil(W / 2))``. Where the size is odd, the shifted image gets a
    last row and column of zeros, so that both halves have one size.
    """

    def __init__(self, c_in: int, c_out: int, *, affine: bool) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv_1 = nn.Conv2d(c_in, c_out // 2, 1, stride=2, bias=False)
        self.conv_2 = nn.Conv2d(c_in, c_out - c_out // 2, 1, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(c_out, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Reduce ``(B, C, H, W)``."""
        x = self.relu(x)
        shifted = F.pad(x, (-1, 1, -1, 1))
        reduced: Tensor = self.bn(torch.cat([self.conv_1(x), self.conv_2(shifted)], 1))
        return reduced


def _pool(pool: nn.Module, channels: int, *, affine: bool) -> nn.Module:
    # The program normalises pools during the search only, when BatchNorm has no affine parameters.
    return pool if affine else nn.Sequential(pool, nn.BatchNorm2d(channels, affine=False))


def _max_pool(channels: int, stride: int, *, affine: bool) -> nn.Module:
    return _pool(nn.MaxPool2d(3, stride, padding=1), channels, affine=affine)


def _avg_pool(channels: int, stride: int, *, affine: bool) -> nn.Module:
    return _pool(nn.AvgPool2d(3, stride, padding=1, count_include_pad=False), channels, affine=affine)


def _skip(channels: int, stride: int, *, affine: bool) -> nn.Module:
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, affine=affine)


def _depthwise(channels: int, kernel: int, stride: int, dilation: int, *, affine: bool) -> list[nn.Module]:
    padding = dilation * (kernel - 1) // 2
    return [
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    ]


def _sep_conv(kernel: int) -> Callable[..., nn.Module]:
    def make(channels: int, stride: int, *, affine: bool) -> nn.Module:
        first = _depthwise(channels, kernel, stride, 1, affine=affine)
        return nn.Sequential(*first, *_depthwise(channels, kernel, 1, 1, affine=affine))

    return make


def _dil_conv(kernel: int) -> Callable[..., nn.Module]:
    def make(channels: int, stride: int, *, affine: bool) -> nn.Module:
        return nn.Sequential(*_depthwise(channels, kernel, stride, 2, affine=affine))

    return make


OPERATIONS: dict[str, Callable[..., nn.Module]] = {
    "max_pool_3x3": _max_pool,
    "avg_pool_3x3": _avg_pool,
    "skip_connect": _skip,
    "sep_conv_3x3": _sep_conv(3),
    "sep_conv_5x5": _sep_conv(5),
    "dil_conv_3x3": _dil_conv(3),
    "dil_conv_5x5": _dil_conv(5),
}
"""Name -> ``make(channels, stride, affine=...)``: ``(B, C, H, W)`` to ``(B, C, H / stride, W / stride)``.

``none`` is the absence of an operation and has no module.
"""
