"""The blocks of a network: its modules in the order of their computation, with inputs, outputs and parameters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nasreg.specs.data import DataInfo


@dataclass(frozen=True)
class Block:
    """A module of a network."""

    name: str
    inputs: tuple[str, ...]
    """Names of the blocks whose outputs it takes; ``images`` is the input of the network."""
    shape: tuple[int, ...]
    """Shape of its output for one image, such as ``(C, H, W)``; empty where the output is not a tensor."""
    parameters: int
    """Number of its parameters."""


@torch.no_grad()
def network_blocks(network: nn.Module, info: DataInfo) -> list[Block]:
    """Return the blocks of a network in the order in which they are computed.

    Args:
        network: The network; each of its children is a block, and so is each module of a list among them.
        info: Shape of the images that the network takes.
    """
    images = torch.zeros(1, info.channels, info.height, info.width)
    # Tensors by their id; they are kept alive, since an id may be used again after its object is gone.
    producers: dict[int, tuple[Tensor, str]] = {id(images): (images, "images")}
    blocks: list[Block] = []

    def add_block(name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        sources = dict.fromkeys(producers[id(each)][1] for each in inputs if id(each) in producers)
        shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else ()
        blocks.append(Block(name, tuple(sources), shape, sum(p.numel() for p in module.parameters())))
        if isinstance(output, Tensor):
            producers.setdefault(id(output), (output, name))

    modules = [
        (f"{name}.{inner}" if inner else name, module)
        for name, child in network.named_children()
        # fx stores a former ModuleList as a plain Module, which is never called itself
        for inner, module in (child.named_children() if type(child) in (nn.ModuleList, nn.Module) else [("", child)])
    ]
    hooks = [module.register_forward_hook(partial(add_block, name)) for name, module in modules]
    was_training = network.training
    try:
        network.eval()(images)
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return blocks
