"""The result of a search. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from nasreg.config.notation import architecture_text
from nasreg.config.sources import SpaceSource
from nasreg.errors import UsageError
from nasreg.nn import extract_space, freeze
from nasreg.runs.front import pareto_front
from nasreg.runs.trial_summary import count_trials, counts_text
from nasreg.runs.trials import best_first
from nasreg.specs import Architecture, Fact, MetricSpec, SearchSpaceSpec
from nasreg.specs.formatting import plural
from nasreg.specs.metrics import metric_spec, split_name


@dataclass(frozen=True)
class SearchResult:
    """The result of a search."""

    architecture: Architecture
    """The architecture found."""
    space: SearchSpaceSpec
    """The space that it belongs to."""
    history: list[dict[str, Any]]
    """For each epoch, in order: its number from 1, metrics, seconds, diagnostics, strengths, weights."""
    run_dir: Path | None
    """The run directory, if one was asked for."""
    trials: list[dict[str, Any]]
    """For each trial of a multi-trial algorithm, by id: status, score, metrics, seconds, decisions."""
    objective: MetricSpec | None
    """The metric that trials are scored by; None for a one-shot algorithm."""
    objectives: tuple[MetricSpec, ...]
    """What a multi-trial algorithm optimises beside that metric; see ``front``."""
    facts: tuple[Fact, ...]
    """What the evaluator of a multi-trial algorithm knows of the result, such as its rank in a table."""
    supernet: nn.Module | None = field(repr=False)
    """The trained supernet of a one-shot algorithm, with its choices undecided again."""
    source: SpaceSource = field(repr=False)
    """Where the space comes from."""
    options: Mapping[str, Any] = field(repr=False)
    """Options of the space in the search."""
    _build: Callable[[], nn.Module] = field(repr=False)
    _recalibrate: Callable[[nn.Module], None] | None = field(default=None, repr=False)
    """Renews the BatchNorm statistics of a network by a pass over the train split."""

    @property
    def genotype(self) -> str | None:
        """The architecture as it is published: in the notation of its space, or as a genotype in a space of cells."""
        return architecture_text(self.space, self.architecture, self.source.entry)

    @property
    def front(self) -> list[dict[str, Any]]:
        """The Pareto front of a search with several objectives: trials that no other dominates, the best score first.

        Each is an element of ``trials``; ``space.architecture(trial["architecture"])`` is its architecture. Empty in a
        search with one objective.
        """
        return [] if self.objective is None else pareto_front(self.trials, self.objective, self.objectives)

    def model(self, *, keep_weights: bool = False, recalibrate: bool = False) -> nn.Module:
        """Return the network of the architecture, as a plain module without any class of nasreg.

        Args:
            keep_weights: Take the weights from the supernet. Otherwise the network is built anew, a registered space in
                the form in which its paper retrains it. A model that was given as an object is copied with the weights
                it had before the search.
            recalibrate: Renew the running statistics of BatchNorm by a pass over the train split of the search. Those
                of the supernet belong to the mixture of all candidates, with which the network is far worse than its
                weights are. The same for other data: ``nasreg.nn.recalibrate_batch_norm``.

        Raises:
            UsageError: There are no weights to keep: a multi-trial algorithm has no supernet. Or statistics of new
                weights are to be renewed.
        """
        if not keep_weights:
            if recalibrate:
                raise UsageError("recalibrate=True is for the weights of the supernet: give keep_weights=True, too")
            return self._build()
        if self.supernet is None:
            raise UsageError("a multi-trial search has no supernet whose weights could be kept: use model()")
        # At the end the supernet may have fewer candidates than the space.
        network = freeze(self.supernet, extract_space(self.supernet).architecture(self.architecture.decisions))
        if recalibrate and self._recalibrate is not None:
            self._recalibrate(network)
        return network

    def _repr_html_(self) -> str:
        """Return the HTML that Jupyter shows."""
        from nasreg.report.notebook import result_html

        facts, strengths = {}, None
        if self.objective is not None:
            facts["trials"] = counts_text(count_trials(self.trials))
            best = best_first(self.trials, self.objective)[0]
            facts[f"best {self.objective.title}"] = self.objective.format(best["score"])
            if self.objectives:
                facts["Pareto front"] = plural(len(self.front), "trial")
            facts |= {fact.title: fact.text for fact in self.facts}
        else:
            last = self.history[-1]
            facts["epochs"], strengths = str(len(self.history)), last["strengths"] or None
            suffix = " of the supernet" if last.get("model") == "supernet" else ""
            for name, value in last.items():
                split, metric_name = split_name(name)
                if split in ("validation", "arch") and metric_name != "loss":
                    facts[f"{metric_spec(name).title}{suffix}"] = metric_spec(name).format(value)
        if self.run_dir:
            facts["run directory"] = str(self.run_dir)
        return result_html(self.space, self.architecture, strengths, facts, self.source.entry)
