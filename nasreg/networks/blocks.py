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
    """Shape of its output for one image, such as ``(C, H, W)``, of several tensors that of the last; empty where there
    is no tensor."""
    parameters: int
    """Number of its parameters."""


@torch.no_grad()
def network_blocks(network: nn.Module, info: DataInfo) -> list[Block]:
    """Return the blocks of a network in the order in which they are computed.

    Args:
        network: The network; each of its children is a block, and so is each module of a list among them, and of a
            sequence that is its only child.
        info: Shape of the images that the network takes.
    """
    images = torch.zeros(1, info.channels, info.height, info.width)
    # Tensors by their id; they are kept alive, since an id may be used again after its object is gone.
    producers: dict[int, tuple[Tensor, str]] = {id(images): (images, "images")}
    read: dict[str, dict[str, None]] = {}
    """Name of a block -> the producers of the tensors that its innermost modules take."""
    blocks: list[Block] = []

    def sources(inputs: tuple[Any, ...]) -> dict[str, None]:
        return dict.fromkeys(producers[id(each)][1] for each in inputs if id(each) in producers)

    def note_inputs(name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        read.setdefault(name, {}).update(sources(inputs))

    def add_block(name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        taken = sources(inputs)
        if not taken:  # of a collection of tensors a block need not use all: its modules tell, else it is the last
            taken = read.get(name) or sources(tuple(each[-1] for each in inputs if isinstance(each, tuple) and each))
        tensors = [each for each in (output if isinstance(output, tuple) else [output]) if isinstance(each, Tensor)]
        shape = tuple(tensors[-1].shape[1:]) if tensors else ()
        blocks.append(Block(name, tuple(taken), shape, sum(p.numel() for p in module.parameters())))
        for tensor in tensors:
            producers.setdefault(id(tensor), (tensor, name))

    children = list(network.named_children())
    listed = (nn.ModuleList, nn.Module, nn.Sequential) if len(children) == 1 else (nn.ModuleList, nn.Module)
    modules = [
        (f"{name}.{inner}" if inner else name, module)
        for name, child in children
        # fx stores a former ModuleList as a plain Module, which is never called itself
        for inner, module in (child.named_children() if type(child) in listed else [("", child)])
    ]
    hooks = [module.register_forward_hook(partial(add_block, name)) for name, module in modules]
    hooks += [
        part.register_forward_pre_hook(partial(note_inputs, name))
        for name, module in modules
        for part in module.modules()
        if not list(part.children())
    ]
    was_training = network.training
    try:
        network.eval()(images)
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return blocks
