"""Scores what a one-shot search has found by the evaluator of the study, as one of its own proposals. Imports torch.

A one-shot search has no evaluator. Its validation accuracy is that of a supernet, which says little about the
architecture found and cannot be compared with the score of a trial. Where an evaluation is a look-up, the architecture
after each epoch is scored, too.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from nasreg.config.request import ResolvedRun
from nasreg.engine.evaluation import EvaluationPlan
from nasreg.engine.search_job import search_spec
from nasreg.errors import TrainingError
from nasreg.evaluators.base import Evaluator
from nasreg.evaluators.outcome import evaluate_proposal
from nasreg.runs import files
from nasreg.runs.directory import RunDirectory
from nasreg.specs import Architecture, Proposal, Trial
from nasreg.studies.directory import SCORE
from nasreg.trainers.device import resolve_device


def is_scored(path: Path) -> bool:
    """Return whether what the search in a directory has found is scored."""
    return (path / SCORE).exists()


def score_found(run: ResolvedRun, directory: RunDirectory) -> None:
    """Score the result of a one-shot search, and write the score into its directory.

    Args:
        run: A search that has the evaluator.
        directory: The directory of the one-shot search, which has finished.

    Raises:
        TrainingError: The evaluation failed.
        NasregError: The data or the evaluator cannot be loaded.
    """
    if run.evaluator is None:
        raise TypeError("an evaluator is needed")
    device = resolve_device(run.spec.device)
    plan = EvaluationPlan(search_spec(run), run.evaluator, run.space, run.dataset, directory.space, None)
    data = plan.load_data(device)
    evaluator = plan.make_evaluator(device, data)
    began = time.perf_counter()
    try:
        evaluator.setup()
        proposal = Proposal(1, directory.architecture)
        outcome = evaluate_proposal(evaluator, proposal)
        if outcome.score is None:
            raise TrainingError(f"what the search found could not be scored: {outcome.reason}")
        trial = Trial(proposal, "done", outcome.score)
        record: dict[str, Any] = {
            "evaluator": plan.spec.evaluator.model_dump(mode="json") if plan.spec.evaluator is not None else None,
            "data": None if data is None else data.describe()["fingerprint"],
            "objective": evaluator.objective.model_dump(mode="json"),
            "score": outcome.score.value,
            "metrics": dict(outcome.score.metrics),
            "seconds": time.perf_counter() - began,
            "facts": [fact.model_dump(mode="json") for fact in evaluator.facts(trial, 1)],
        }
        if run.evaluator_config is not None and not run.evaluator.needs_with(run.evaluator_config):
            record["epochs"] = _after_each_epoch(evaluator, directory)
    finally:
        evaluator.close()
    directory.write_json(SCORE, record)


def _after_each_epoch(evaluator: Evaluator, directory: RunDirectory) -> list[list[float]]:
    """Return epoch and score of the architecture that would have been derived after each epoch, where it has one."""
    found = []
    for path in sorted((directory.path / files.ARCHITECTURES).glob("epoch-*.json")):
        outcome = evaluate_proposal(evaluator, Proposal(1, Architecture.load(path)))
        if outcome.score is not None:
            found.append([int(path.stem.partition("-")[2]), outcome.score.value])
    return found
