"""How the candidates grow when a stage of DrNAS lets more channels through them (arXiv 2006.10355, progressive stages).

A wider convolution or BatchNorm repeats channels of the narrower one, chosen at random, as the authors' program does
(``net2wider.py``). What differs from it: in ``FactorizedReduce`` BatchNorm repeats the channels that the convolutions
before it repeat, where the program takes other ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

Expand = Callable[[Tensor], Tensor]
"""Repeats channels of a tensor of the narrower layer."""


def repeated(before: int, after: int) -> Tensor:
    """Return for each of ``after`` channels which of ``before`` it repeats: first all of them, then random ones."""
    return torch.cat([torch.arange(before), torch.randint(before, (after - before,))])


def expansions(narrow: nn.Module, wide: nn.Module) -> Iterator[tuple[str, Expand]]:
    """Yield how each parameter and buffer of a candidate becomes one of the wider candidate, by its name.

    Args:
        narrow: The candidate.
        wide: The same with more channels in its convolutions and BatchNorm layers.
    """
    outputs: list[tuple[Tensor, int]] = []  # what was repeated since the last BatchNorm, and of how many channels
    modules = dict(narrow.named_modules())
    for path, layer in wide.named_modules():
        before, prefix = modules[path], f"{path}." if path else ""
        if isinstance(layer, nn.Conv2d) and isinstance(before, nn.Conv2d):
            follows = next((each for each, n in reversed(outputs) if n == before.in_channels), None)
            depthwise = layer.groups == layer.in_channels == layer.out_channels
            channels, inputs = (repeated(before.weight.shape[n], layer.weight.shape[n]) for n in (0, 1))
            if follows is not None and depthwise:
                channels = follows
            elif follows is not None and layer.groups == 1:
                inputs = follows
            outputs.append((channels, before.out_channels))
            yield f"{prefix}weight", partial(_repeat, channels, inputs)
            if layer.bias is not None:
                yield f"{prefix}bias", partial(_repeat, channels, None)
        elif isinstance(layer, nn.BatchNorm2d) and isinstance(before, nn.BatchNorm2d):
            channels = _normalised(outputs, before.num_features, layer.num_features)
            outputs = [(channels, before.num_features)]
            for name in ("weight", "bias", "running_mean", "running_var"):
                if getattr(layer, name) is not None:
                    yield f"{prefix}{name}", partial(_repeat, channels, None)


def _repeat(channels: Tensor, inputs: Tensor | None, tensor: Tensor) -> Tensor:
    """Return a tensor of a wider layer."""
    outer = tensor[channels.to(tensor.device)]
    return outer if inputs is None else outer[:, inputs.to(tensor.device)]


def _normalised(outputs: list[tuple[Tensor, int]], before: int, after: int) -> Tensor:
    """Return the channels that a BatchNorm repeats: those of the last convolution, or of all, concatenated."""
    if outputs and outputs[-1][1] == before:
        return outputs[-1][0]
    if sum(n for _, n in outputs) == before:
        starts = [sum(n for _, n in outputs[:place]) for place in range(len(outputs))]
        return torch.cat([channels + start for (channels, _), start in zip(outputs, starts, strict=True)])
    return repeated(before, after)
