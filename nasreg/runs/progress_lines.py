"""The lines that a progress display writes for events, as text. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from nasreg.events import EpochEnded, NetworkMeasured, RunStarted, SearchStarted, TrainedModel, TrialEnded
from nasreg.specs.formatting import format_count, format_duration, format_plain, plural
from nasreg.specs.metrics import SPLITS, MetricSpec, metric_spec, split_name
from nasreg.specs.run import RunSpec
from nasreg.specs.trial import PARAMETERS


def start_lines(event: RunStarted) -> list[str]:
    """Return the lines that say what a training is, and where a resumed one begins."""
    spec = event.spec
    architectures = f"{format_count(event.space.size())} architectures, " if isinstance(spec, RunSpec) else ""
    kind, chosen = ("preset", spec.preset) if isinstance(spec, RunSpec) else ("recipe", spec.recipe)
    named = f", {kind} {chosen}" if chosen is not None else ""
    extra = f" ({event.auxiliary_parameters:,} of them in its auxiliary head)" if event.auxiliary_parameters else ""
    lines = [
        f"{spec.title}{named}, device {event.device}",
        f"{event.model} of {plural(event.parameters, 'parameter')}{extra}, {architectures}"
        f"{plural(event.epochs, 'epoch')} of {plural(event.steps, 'step')}",
    ]
    if event.processes > 1:
        norm = "the whole batch" if spec.trainer["sync_batch_norm"] else "the part of its process"
        lines.append(
            f"{event.processes} processes, each of which computes a part of every batch of"
            f" {plural(spec.trainer['batch_size'], 'sample')} (trainer.batch_size); BatchNorm normalises by {norm}"
        )
    if event.run_dir is not None:
        lines.append(f"run directory {event.run_dir}")
    if event.first_epoch > event.epochs:
        lines.append("resuming after the last epoch")
    elif event.first_epoch > 1 or event.first_step > 1:
        lines.append(f"resuming at epoch {event.first_epoch}, step {event.first_step}")
    return lines


def search_lines(event: SearchStarted) -> list[str]:
    """Return the lines that say what a multi-trial search is, and where a resumed one begins."""
    spec = event.spec
    named = f", preset {spec.preset}" if spec.preset is not None else ""
    evaluator = f"evaluator {spec.evaluator.title}, " if spec.evaluator is not None else ""
    workers = f", {plural(spec.workers, 'worker')}" if spec.workers > 1 else ""
    length = f" of {plural(event.trial_epochs, 'epoch')}" if event.trial_epochs is not None else ""
    lines = [
        f"{spec.title_of(uses_data=event.uses_data)}{named}, {evaluator}device {event.device}{workers}",
        f"{format_count(event.space.size())} architectures, {plural(event.max_trials, 'trial')}{length}",
    ]
    if event.run_dir is not None:
        lines.append(f"run directory {event.run_dir}")
    if event.ended:
        lines.append(f"resuming after {plural(event.ended, 'trial')}")
    return lines


def trial_line(event: TrialEnded, *, is_best: bool) -> str:
    """Return the line of a trial: its score, parameters and time, or why it has no score."""
    trial, metric = event.trial, event.objective
    place = f"trial {trial.id} ({event.ended}/{event.max_trials})"
    if trial.score is None:
        return f"{place} {trial.status}: {trial.reason}"
    parameters = trial.metrics.get(PARAMETERS.name)
    texts = [f"{metric.title} {metric.format(trial.score.value)}{' (best so far)' if is_best else ''}"]
    texts += [plural(int(parameters), "parameter")] if parameters is not None else []
    return f"{place}: {', '.join([*texts, format_duration(trial.seconds)])}"


def epoch_line(event: EpochEnded, metrics: Sequence[MetricSpec]) -> str:
    """Return the line of an epoch: the metrics of each split, its time, and diagnostics."""
    parts = [*_metric_texts(event, metrics), format_duration(event.seconds)]
    if event.diagnostics:
        parts.append(", ".join(f"{name} {format_plain(value)}" for name, value in event.diagnostics.items()))
    return f"epoch {event.epoch}/{event.epochs}{_model_note(event.model)}: {'; '.join(parts)}"


def _model_note(model: TrainedModel) -> str:
    """Return the note that metrics are the supernet's; those of a network need none."""
    return " (supernet)" if model == "supernet" else ""


def _metric_texts(event: EpochEnded, metrics: Sequence[MetricSpec]) -> list[str]:
    """Return a text for each split, such as ``train loss 1.250, accuracy 50.0%``, and for the metrics of no split."""
    order = {spec.name: number for number, spec in enumerate(metrics)}
    splits: dict[str | None, list[str]] = {split: [] for split in (*SPLITS, None)}
    for split, name in sorted(map(split_name, event.metrics), key=lambda each: order.get(each[1], len(order))):
        spec = metric_spec(name, metrics)
        value = event.metrics[name if split is None else f"{split}_{name}"]
        splits[split].append(f"{spec.title} {spec.format(value)}")
    return [f"{split} {', '.join(texts)}" if split else ", ".join(texts) for split, texts in splits.items() if texts]


def network_line(event: NetworkMeasured) -> str:
    """Return the line that compares the network found, which has the supernet's weights, with the supernet."""
    text = event.metric.format
    again = "" if event.recalibrated is None else f", {text(event.recalibrated)} with BatchNorm recalibrated"
    return (
        f"{event.metric.title} of the supernet {text(event.supernet)}; of the network found, with the supernet's"
        f" weights, {text(event.inherited)}{again}"
    )
