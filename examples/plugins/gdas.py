"""GDAS: a one-shot search that computes one sampled candidate of each choice, and is as cheap as one network.

Dong, Yang: Searching for A Robust Neural Architecture in Four GPU Hours, arXiv 1910.04465, section 3.2. In each forward
pass every layer choice, and every edge of a cell, draws a candidate from the Gumbel-softmax of its architecture
parameters. Only that one is computed, with weight 1; the gradient is that of its soft probability (straight-through).
The temperature falls linearly. The two alternating steps are those of the core (``BilevelTrainer``, first order), and
architectures are derived from the softmax as in DARTS (``SoftmaxMutator``). Differing from the paper, reduction cells
are searched, too, and only the probability of what is drawn has a gradient; ``plugins/gumbel`` has the whole algorithm.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import torch
from pydantic import Field
from torch import Tensor

import nasreg
from nasreg import AlgorithmSpec, SearchSpaceSpec
from nasreg.hookspecs import hookimpl
from nasreg.mutators import SoftmaxMutator, SoftmaxMutatorConfig
from nasreg.specs import AnyChoiceSpec, MutatorSpec, PluginInfo, Preset, TrainerSpec
from nasreg.trainers import BilevelTrainer, BilevelTrainerConfig

Sample = dict[str, Tensor]
"""The one candidate that is computed, and its weight."""


class GdasMutator(SoftmaxMutator):
    def __init__(self, space: SearchSpaceSpec, config: SoftmaxMutatorConfig) -> None:
        super().__init__(space, config)
        self.temperature = 1.0
        self._samples: dict[str, Sample | list[Sample]] = {}

    def resample(self) -> None:
        """Draw a candidate for each choice; all modules with the key of a choice get the same one."""
        self._samples = {choice.key: self._draw(choice) for choice in self.space.choices}

    def candidate_weights(self, choice: AnyChoiceSpec) -> Sample | list[Sample]:
        return self._samples[choice.key]

    def _draw(self, choice: AnyChoiceSpec) -> Sample | list[Sample]:
        probabilities = self.probabilities(choice)
        if isinstance(probabilities, Tensor) and probabilities.dim() == 1:
            return self._sample(choice.rows[0], probabilities)
        return [self._sample(*edge) for edge in zip(choice.rows, probabilities, strict=True)]

    def _sample(self, names: Sequence[str], probabilities: Tensor) -> Sample:
        gumbel = -torch.empty_like(probabilities).exponential_().log()
        soft = torch.softmax((probabilities.log() + gumbel) / self.temperature, -1)
        drawn = int(soft.argmax())
        return {names[drawn]: 1 - soft[drawn].detach() + soft[drawn]}


class GdasTrainerConfig(BilevelTrainerConfig):
    temperature: float = Field(default=10.0, gt=0, description="temperature of the Gumbel-softmax in the first epoch")
    temperature_min: float = Field(default=0.1, gt=0, description="temperature of the last epoch")


class GdasTrainer(BilevelTrainer):
    config: GdasTrainerConfig
    mutator: GdasMutator

    def start_epoch(self, epoch: int) -> None:
        super().start_epoch(epoch)
        config, share = self.config, epoch / max(1, self.epochs - 1)
        self.mutator.temperature = config.temperature + share * (config.temperature_min - config.temperature)


@hookimpl
def nasreg_plugin() -> PluginInfo:
    return PluginInfo(api=2)


@hookimpl
def nasreg_algorithms() -> Iterable[AlgorithmSpec]:
    return [
        AlgorithmSpec(
            name="straight-through",
            summary="gradient descent through one sampled candidate per choice, by the Gumbel-softmax",
            paper="Dong, Yang: Searching for A Robust Neural Architecture in Four GPU Hours,"
            " https://arxiv.org/abs/1910.04465",
            family="one-shot",
            primitives=frozenset({"layer", "cell"}),
            splits=frozenset({"arch"}),
            mutator=MutatorSpec(factory=GdasMutator, config=SoftmaxMutatorConfig),
            trainer=TrainerSpec(factory=GdasTrainer, config=GdasTrainerConfig),
            presets={
                "demo": Preset(
                    summary="12 epochs, 2 small cells",
                    trainer={"epochs": 12, "batch_size": 32, "lr": 0.05, "arch_lr": 0.01},
                    spaces={"darts": {"cells": 2, "channels": 8, "nodes": 2}},
                ),
            },
            default_preset="demo",
            default_space="darts",
        )
    ]


if __name__ == "__main__":
    nasreg.register(sys.modules[__name__])
    result = nasreg.search("darts", "digits", "straight-through", seed=0, trainer={"epochs": 5})
    for epoch in result.history:
        print(f"epoch {epoch['epoch']}  accuracy of sampled networks {epoch['arch_accuracy']:.3f}")
    print(result.genotype)
