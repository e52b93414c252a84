"""The trainer of successive halving and Hyperband: the core's, which first checks the number of trials."""

from __future__ import annotations

from typing import cast

from nasreg.errors import ConfigError
from nasreg.trainers import MultiTrialContext, MultiTrialTrainer, MultiTrialTrainerConfig
from nasreg_bayes.halving import Halving


class HalvingTrainer(MultiTrialTrainer):
    """Refuses a search that ends before an architecture is evaluated with full effort.

    Args:
        context: The search.
        config: Options.

    Raises:
        ConfigError: ``max_trials`` are too few for the first bracket, or no architecture can meet a budget.
    """

    def __init__(self, context: MultiTrialContext, config: MultiTrialTrainerConfig) -> None:
        super().__init__(context, config)
        mutator = cast("Halving", self.mutator)
        first = mutator.brackets()[0]
        needed = mutator.n_trials(first) + len(context.initial)
        if config.max_trials < needed:
            rungs = ", ".join(f"{rung.size} at {rung.fidelity:.4g}" for rung in first)
            raise ConfigError(
                f"trainer.max_trials={config.max_trials} ends the search before any architecture is evaluated with full"
                f" effort: the first bracket ({rungs}) takes {needed} trials; set trainer.max_trials={needed} or more"
            )
