"""Evaluates a proposal, whatever happens: an error becomes the outcome of the trial, not the end of the search."""

from __future__ import annotations

import math
import time
import traceback

import torch

from nasreg.errors import InterruptedRunError, SampleError, StorageError, one_line
from nasreg.evaluators.base import Evaluator
from nasreg.executors.base import Outcome
from nasreg.mutators.seeding import seed_torch
from nasreg.specs.trial import Proposal, Score


def evaluate_proposal(evaluator: Evaluator, proposal: Proposal) -> Outcome:
    """Return the outcome of a proposal. Torch's generators are seeded for it, and restored afterwards.

    Raises:
        InterruptedRunError: A signal interrupted the evaluation.
        SampleError: An image cannot be read: no other trial could be evaluated.
        StorageError: A file of the run cannot be written, which says nothing about the proposal.
    """
    began = time.perf_counter()
    device = evaluator.context.device
    devices = [device] if device.type != "cpu" else []
    try:
        with torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"):
            seed_torch(evaluator.seed(proposal))
            score = evaluator.evaluate(proposal)
    except (InterruptedRunError, SampleError, StorageError):
        raise
    except Exception as error:  # noqa: BLE001  # it may come from the model or the evaluator of a user
        return Outcome(None, one_line(error), traceback.format_exc(), time.perf_counter() - began)
    reason = _invalid(score)
    return Outcome(None if reason else score, reason, None, time.perf_counter() - began)


def _invalid(score: object) -> str | None:
    """Return why a score cannot be used, or None."""
    if not isinstance(score, Score):
        return f"the evaluator returned a {type(score).__name__}, not a score: return self.score(value)"
    return None if math.isfinite(score.value) else f"the score is {score.value}"
