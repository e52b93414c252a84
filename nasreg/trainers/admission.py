"""Which proposals of a multi-trial search are evaluated: those within the budgets that pass the filter, each once."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence

from nasreg.errors import ConfigError, IncompatibleError, TrainingError, one_line
from nasreg.specs.architecture import Architecture
from nasreg.specs.metrics import MetricSpec
from nasreg.specs.trial import COSTS, LATENCY, PARAMETERS, Proposal
from nasreg.trainers.config import MultiTrialTrainerConfig
from nasreg.trainers.context import MultiTrialContext


class Admission:
    """Decides which proposals are evaluated.

    Args:
        context: The search.
        config: Options.
        objectives: What the algorithm optimises beside the score.

    Attributes:
        last_reason: Why the last proposal was rejected.

    Raises:
        ConfigError: No architecture can meet a budget.
        IncompatibleError: Nobody measures an objective.
    """

    def __init__(
        self, context: MultiTrialContext, config: MultiTrialTrainerConfig, objectives: Sequence[MetricSpec] = ()
    ) -> None:
        self._context = context
        self._config = config
        unmeasured = _unmeasured(context, objectives)
        self._limits = _limits(context, config)
        self._measured = dict.fromkeys([*self._limits, *unmeasured])
        self.last_reason: str | None = None
        self._rejected = 0
        self._seen: set[bytes] = set()
        self._architectures: set[bytes] = set()

    def check(self, proposal: Proposal) -> tuple[str | None, Mapping[str, float]]:
        """Return why a proposal is not evaluated, or None, and the costs of its network that were measured.

        Raises:
            TrainingError: The filter failed.
        """
        duplicate = self.remember(proposal)
        reason, costs = self._reason(proposal, duplicate=duplicate)
        if reason is None:
            self._rejected = 0
        else:
            self._rejected += 1
            self.last_reason = reason
        return reason, costs

    def _reason(self, proposal: Proposal, *, duplicate: bool) -> tuple[str | None, Mapping[str, float]]:
        if duplicate:
            return "it was proposed before", {}
        if not self._passes(proposal.architecture):
            return f"filter {self._config.filter} refused it", {}
        if not self._measured:
            return None, {}
        costs = self._context.measure_costs(proposal.architecture, self._measured)
        for name, limit in self._limits.items():
            if costs[name] > limit:
                title = _metric(name).title
                return f"{title} {_text(name, costs[name])} above {_text(name, limit)}", costs
        return None, costs

    def _passes(self, architecture: Architecture) -> bool:
        accept = self._context.accept
        try:
            return accept is None or bool(accept(architecture))
        except Exception as error:
            raise TrainingError(f"trainer.filter {self._config.filter}: {one_line(error)}") from error

    def remember(self, proposal: Proposal) -> bool:
        """Note a proposal; return whether it is a duplicate that is to be rejected."""
        if self._config.duplicates != "reject":
            return False
        decisions = json.dumps(proposal.architecture.decisions, sort_keys=True)
        architecture = hashlib.blake2b(decisions.encode(), digest_size=16).digest()
        self._architectures.add(architecture)
        rest = json.dumps([proposal.fidelity, dict(proposal.options)], sort_keys=True)
        whole = hashlib.blake2b(architecture + rest.encode(), digest_size=16).digest()
        if whole in self._seen:
            return True
        self._seen.add(whole)
        return False

    def exhausted(self) -> str | None:
        """Return why no further proposal can be expected to pass, or None."""
        size = self._context.space.size()
        if self._config.duplicates == "reject" and len(self._architectures) >= size:
            return f"all {size} architectures of the space were proposed"
        if self._rejected >= self._config.max_rejected:
            return f"{self._rejected} proposals in a row were rejected, the last one since: {self.last_reason}"
        return None


def _unmeasured(context: MultiTrialContext, objectives: Sequence[MetricSpec]) -> list[str]:
    """Return the names of the objectives that the evaluator does not measure: costs of the network."""
    known = {metric.name for metric in context.metrics}
    names = [metric.name for metric in objectives if metric.name not in known]
    costs = [cost.name for cost in COSTS]
    for name in names:
        if name not in costs:
            evaluator = context.spec.evaluator.title if context.spec.evaluator is not None else ""
            able = ", ".join([*sorted(known - set(costs)), *costs])
            raise IncompatibleError(
                f"the algorithm optimises {name!r}, which evaluator {evaluator!r} does not measure; it can optimise:"
                f" {able}"
            )
    return names


def _limits(context: MultiTrialContext, config: MultiTrialTrainerConfig) -> dict[str, float]:
    given = {metric.name: getattr(config, f"max_{metric.name}") for metric in COSTS}
    wanted = {name: limit for name, limit in given.items() if limit is not None}
    shares = [name for name, limit in wanted.items() if isinstance(limit, str)]
    largest = context.extreme_costs("largest", shares) if shares else {}
    limits = {name: _share(limit, largest[name]) if isinstance(limit, str) else limit for name, limit in wanted.items()}
    # The architecture with the fewest parameters need not have the fewest MACs, or the shortest latency.
    exact = [name for name in limits if name == PARAMETERS.name]
    smallest = context.extreme_costs("smallest", exact) if exact else {}
    for name in exact:
        if smallest[name] > limits[name]:
            raise ConfigError(
                f"trainer.max_{name}: no architecture has {_text(name, limits[name])} {_metric(name).title} or fewer;"
                f" the smallest has {_text(name, smallest[name])}. Raise the budget, or make the space smaller"
            )
    return limits


def _share(percent: str, largest: float) -> float:
    """Return a share of a cost: whole numbers have whole limits."""
    share = float(percent.removesuffix("%")) / 100 * largest
    return math.floor(share) if isinstance(largest, int) else share


def _metric(name: str) -> MetricSpec:
    return next(metric for metric in COSTS if metric.name == name)


def _text(name: str, value: float) -> str:
    return _metric(name).format(value) if name == LATENCY.name else f"{value:,.0f}"
