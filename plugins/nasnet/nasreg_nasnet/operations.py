"""The 13 operations of the NASNet search space (Zoph et al., arXiv 1707.07012, section 3.1 and appendix A.4).

Every convolution is ReLU, convolution, BatchNorm. Separable convolutions are applied twice, the second time with stride
1. Where an operation changes the number of channels or halves the image, the identity is a 1x1 convolution, and a
pooling is followed by one.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

Pair = tuple[int, int]


def relu_conv_bn(c_in: int, c_out: int, kernel: int | Pair, stride: int | Pair = 1, dilation: int = 1) -> nn.Sequential:
    """Return ReLU, convolution and BatchNorm: ``(B, c_in, H, W)`` to ``(B, c_out, H / stride, W / stride)``."""
    sizes = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (dilation * (sizes[0] // 2), dilation * (sizes[1] // 2))
    return nn.Sequential(
        nn.ReLU(), nn.Conv2d(c_in, c_out, sizes, stride, padding, dilation, bias=False), nn.BatchNorm2d(c_out)
    )


def _identity(c_in: int, c_out: int, stride: int) -> nn.Module:
    return nn.Identity() if stride == 1 and c_in == c_out else relu_conv_bn(c_in, c_out, 1, stride)


def _pooled(pool: nn.Module, c_in: int, c_out: int) -> nn.Module:
    if c_in == c_out:
        return pool
    return nn.Sequential(pool, nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out))


def _max_pool(size: int) -> Callable[[int, int, int], nn.Module]:
    return lambda c_in, c_out, stride: _pooled(nn.MaxPool2d(size, stride, size // 2), c_in, c_out)


def _avg_pool(c_in: int, c_out: int, stride: int) -> nn.Module:
    return _pooled(nn.AvgPool2d(3, stride, 1, count_include_pad=False), c_in, c_out)


def _conv(size: int, dilation: int = 1) -> Callable[[int, int, int], nn.Module]:
    return lambda c_in, c_out, stride: relu_conv_bn(c_in, c_out, size, stride, dilation)


def _factorized(size: int) -> Callable[[int, int, int], nn.Module]:
    def make(c_in: int, c_out: int, stride: int) -> nn.Module:
        row = relu_conv_bn(c_in, c_out, (1, size), (1, stride))
        return nn.Sequential(*row, *relu_conv_bn(c_out, c_out, (size, 1), (stride, 1)))

    return make


def _depthwise(c_in: int, c_out: int, size: int, stride: int) -> list[nn.Module]:
    return [
        nn.ReLU(),
        nn.Conv2d(c_in, c_in, size, stride, size // 2, groups=c_in, bias=False),
        nn.Conv2d(c_in, c_out, 1, bias=False),
        nn.BatchNorm2d(c_out),
    ]


def _separable(size: int) -> Callable[[int, int, int], nn.Module]:
    def make(c_in: int, c_out: int, stride: int) -> nn.Module:
        return nn.Sequential(*_depthwise(c_in, c_out, size, stride), *_depthwise(c_out, c_out, size, 1))

    return make


MAKERS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "skip_connect": _identity,
    "conv_1x3_3x1": _factorized(3),
    "conv_1x7_7x1": _factorized(7),
    "dil_conv_3x3": _conv(3, dilation=2),
    "avg_pool_3x3": _avg_pool,
    "max_pool_3x3": _max_pool(3),
    "max_pool_5x5": _max_pool(5),
    "max_pool_7x7": _max_pool(7),
    "conv_1x1": _conv(1),
    "conv_3x3": _conv(3),
    "sep_conv_3x3": _separable(3),
    "sep_conv_5x5": _separable(5),
    "sep_conv_7x7": _separable(7),
}
"""Name -> ``make(c_in, c_out, stride)``: ``(B, c_in, H, W)`` to ``(B, c_out, H / stride, W / stride)``."""
