"""The weights with which a morphed network computes what its parent computes.

``inherit`` is the function of ``evaluator.inherit_function``. What each morph preserves:

- A **deeper** network (Net2DeeperNet, arXiv 1511.05641): the new convolution is the identity, which the ReLU before it
  lets through. Its BatchNorm scales and shifts by the running statistics that it starts with, so the network computes
  the same in evaluation mode. In training mode the statistics of the batch take their place, for which no weights exist
  that are right for each batch: the network computes approximately the same. The statistics are those of a rectified
  normal distribution with the scale and shift of the BatchNorm before.
- A **wider** network (Net2WiderNet): new channels are copies of drawn ones, and what reads them divides its weights
  among the copies, so the network computes the same in both modes. The shares are drawn, too: equal copies with equal
  shares would have equal gradients and stay equal.
- A **skip connection** starts as zeros, and the 1x1 convolution of ``concat`` as the identity: the same in both modes.
- A **larger kernel** has zeros around it: the same in both modes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nasreg.specs import Architecture
from nasreg_morphism.chain import Chain, Skip, aligned, chain_of

EPS = 1e-5
"""Of BatchNorm."""


@dataclass
class BlockWeights:
    """The tensors of a block."""

    conv: Tensor
    norm: dict[str, Tensor]
    skips: dict[Skip, dict[str, Tensor]] = field(default_factory=dict)
    """Of each connection ``project``, and ``mix`` of one by concatenation."""


@dataclass
class ChainWeights:
    """The tensors of a network of the space ``elastic-chain``; each method changes them in place."""

    blocks: list[BlockWeights]
    head: dict[str, Tensor]

    @classmethod
    def read(cls, chain: Chain, weights: Mapping[str, Tensor]) -> ChainWeights:
        """Return the tensors of a network by what they are for.

        Args:
            chain: The blocks of the network.
            weights: Its state dict.
        """

        def below(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}

        blocks = []
        for number, block in enumerate(chain):
            own = below(f"chain.{number}.")
            skips = {
                skip: {
                    name: own[f"skips.{skip.kind}{skip.source}.{name}.weight"]
                    for name in (("project", "mix") if skip.kind == "concat" else ("project",))
                }
                for skip in block.skips
            }
            blocks.append(BlockWeights(own["conv.weight"], below(f"chain.{number}.norm."), skips))
        return cls(blocks, below("chain.head.classifier."))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state dict of the network."""
        found = {f"chain.head.classifier.{name}": value for name, value in self.head.items()}
        for number, block in enumerate(self.blocks):
            found[f"chain.{number}.conv.weight"] = block.conv
            found |= {f"chain.{number}.norm.{name}": value for name, value in block.norm.items()}
            for skip, tensors in block.skips.items():
                prefix = f"chain.{number}.skips.{skip.kind}{skip.source}"
                found |= {f"{prefix}.{name}.weight": value for name, value in tensors.items()}
        return found

    def width(self, number: int) -> int:
        """Return the number of channels of a block."""
        return len(self.blocks[number].conv)

    # -- morphs --------------------------------------------------------------------------------------------------------

    def deepen(self, after: int, kernel: int) -> None:
        """Insert a block that passes on the output of the block before it.

        Args:
            after: Number of the block before it.
            kernel: Kernel size of the new block.
        """
        before, width = self.blocks[after], self.width(after)
        conv = before.conv.new_zeros(width, width, kernel, kernel)
        conv[range(width), range(width), kernel // 2, kernel // 2] = 1
        mean, variance = rectified_moments(before.norm["bias"], before.norm["weight"])
        norm = {
            "weight": (variance + EPS).sqrt(),
            "bias": mean,
            "running_mean": mean.clone(),
            "running_var": variance,
            "num_batches_tracked": torch.zeros_like(before.norm["num_batches_tracked"]),
        }
        for block in self.blocks:
            block.skips = {
                Skip(skip.kind, skip.source + (skip.source > after)): tensors for skip, tensors in block.skips.items()
            }
        self.blocks.insert(after + 1, BlockWeights(conv, norm))

    def widen(self, number: int, width: int) -> None:
        """Add channels to a block that are copies of drawn ones, and divide the weights of what reads them."""
        old = self.width(number)
        copied = torch.cat([torch.arange(old), torch.randint(old, (width - old,))])

        def shared(weight: Tensor) -> Tensor:
            """Return a weight that reads the channels, in its dimension 1, with that of each one divided."""
            parts = torch.rand(width, dtype=torch.float64) + 0.5
            parts /= torch.zeros(old, dtype=torch.float64).index_add(0, copied, parts)[copied]
            return weight[:, copied] * parts.to(weight).reshape(-1, *[1] * (weight.dim() - 2))

        block = self.blocks[number]
        block.conv = block.conv[copied]
        block.norm = {name: value[copied] if value.dim() else value for name, value in block.norm.items()}
        for tensors in block.skips.values():
            tensors["project"] = tensors["project"][copied]
            if "mix" in tensors:
                tensors["mix"] = shared(tensors["mix"][copied])
        for reader in self.blocks[number + 1 :]:
            for skip, tensors in reader.skips.items():
                if skip.source == number:
                    tensors["project"] = shared(tensors["project"])
        if number + 1 < len(self.blocks):
            self.blocks[number + 1].conv = shared(self.blocks[number + 1].conv)
        else:
            self.head["weight"] = shared(self.head["weight"])

    def enlarge(self, number: int, kernel: int) -> None:
        """Give a block a larger kernel, with zeros around the one that it had."""
        margin = (kernel - self.blocks[number].conv.shape[-1]) // 2
        self.blocks[number].conv = torch.nn.functional.pad(self.blocks[number].conv, [margin] * 4)

    def connect(self, number: int, skip: Skip) -> None:
        """Add a skip connection that leaves the block's output as it is."""
        conv, width = self.blocks[number].conv, self.width(number)
        tensors = {"project": conv.new_zeros(width, self.width(skip.source), 1, 1)}
        if skip.kind == "concat":
            tensors["mix"] = torch.eye(width, dtype=conv.dtype, device=conv.device)[:, :, None, None]
        self.blocks[number].skips[skip] = tensors


def inherit(parent: Architecture, child: Architecture, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return weights with which a child computes what its parent computes.

    Where no morphs lead from the parent to the child, they are those of the parent as they are. Draws from torch's
    generator.

    Args:
        parent: The parent's architecture.
        child: An architecture of the same space, ``elastic-chain``.
        weights: The state dict of the parent's network.
    """
    old, new = chain_of(parent), chain_of(child)
    numbers = aligned(old, new)
    if numbers is None:
        return weights
    network = ChainWeights.read(old, weights)
    for number, block in enumerate(new):
        if number not in numbers:
            network.deepen(number - 1, block.kernel)
    for number, block in enumerate(new):
        if network.width(number) < block.width:
            network.widen(number, block.width)
        if network.blocks[number].conv.shape[-1] < block.kernel:
            network.enlarge(number, block.kernel)
    for number, block in enumerate(new):
        for skip in sorted(block.skips - network.blocks[number].skips.keys()):
            network.connect(number, skip)
    return network.state_dict()


def rectified_moments(mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of ``max(0, x)`` for a normal distribution of x."""
    deviation = deviation.abs().clamp(min=EPS)
    ratio = mean / deviation
    density = torch.exp(-(ratio**2) / 2) / math.sqrt(2 * math.pi)
    share = (1 + torch.erf(ratio / math.sqrt(2))) / 2
    first = mean * share + deviation * density
    second = (mean**2 + deviation**2) * share + mean * deviation * density
    return first, (second - first**2).clamp(min=0)
