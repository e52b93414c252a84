"""The evaluator: builds the network of each proposal with new weights, and computes its measures on one batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from nasreg.errors import ConfigError
from nasreg.evaluators import Evaluator, EvaluatorContext
from nasreg.events import Notice
from nasreg.specs import MetricSpec, Proposal, Score
from nasreg_zerocost.catalog import MEASURES, MeasureName, needs_images
from nasreg_zerocost.config import ZeroCostConfig
from nasreg_zerocost.layers import ScoreError
from nasreg_zerocost.scores import score


class ZeroCostEvaluator(Evaluator):
    """Scores the untrained network of each proposal.

    All proposals are scored on the same images; weights depend on the seed of the search and the proposal.

    Raises:
        ConfigError: The images are to come from a split that is empty.
    """

    config: ZeroCostConfig

    def __init__(self, context: EvaluatorContext, config: ZeroCostConfig) -> None:
        super().__init__(context, config)
        self._reported: set[MeasureName] = set()
        if context.data is not None and not len(context.data.splits[config.split]):
            raise ConfigError(
                f"the {config.split} split, which evaluator.split names, is empty: set dataset.validation_fraction"
            )

    @property
    def objective(self) -> MetricSpec:
        """The chosen measure; a higher value is better."""
        return _metric(self.config.measure)

    @property
    def metrics(self) -> Sequence[MetricSpec]:
        """The other measures."""
        return [_metric(name) for name in self.config.measures[1:]]

    @cached_property
    def _batch(self) -> tuple[Tensor, Tensor | None]:
        """The images and labels of all proposals; an image of zeros where only its shape matters."""
        context, config = self.context, self.config
        dtype = getattr(torch, config.precision)
        if context.data is None or not any(map(needs_images, config.measures)):
            info = context.info
            return torch.zeros(1, info.channels, info.height, info.width, dtype=dtype, device=context.device), None
        split = context.data.splits[config.split]
        batches = split.batches(batch_size=config.batch_size, epoch=0, steps=1, train=True)
        images, labels = next(batches)
        split.close()
        return images.to(context.device, dtype), labels.to(context.device)

    def evaluate(self, proposal: Proposal) -> Score:
        """Return the measures of the network of a proposal.

        Raises:
            ScoreError: The measure that proposals are scored by does not exist for it, or is not finite.
        """
        context, config = self.context, self.config
        images, labels = self._batch
        network = context.build_network(proposal.architecture).to(context.device, images.dtype)
        zen = {"batch_size": config.zen_batch_size, "repeats": config.zen_repeats, "gamma": config.zen_gamma}
        values = {}
        for name in config.measures:
            options = zen if name == "zen" else {}
            try:
                # each starts with the same random numbers, whatever else is measured
                with torch.random.fork_rng([context.device] if context.device.type == "cuda" else []):
                    values[name] = score(network, name, images, labels, loss=context.task.loss, **options)
            except ScoreError as error:
                if name == config.measure:
                    raise
                values[name] = math.nan
                self._report(proposal, name, error)
        value = values.pop(config.measure)
        return self.score(value, **values)

    def _report(self, proposal: Proposal, name: MeasureName, error: ScoreError) -> None:
        """Say, the first time, that a measure that is only recorded has no value."""
        if name not in self._reported:
            self._reported.add(name)
            self.context.emit(
                Notice(f"trial {proposal.id} has no {name}: {error}; later trials without it are not reported")
            )


def _metric(name: MeasureName) -> MetricSpec:
    return MetricSpec(name=name, title=MEASURES[name].title)
