"""Names of the files in a run directory, and what each holds. Imports no torch."""

from __future__ import annotations

RUN = "run.yaml"
"""The RunSpec or RetrainSpec, no option left out. It makes a directory a run."""
ENVIRONMENT = "environment.json"
"""Versions, machine, threads, command, and where the user's own code was imported from."""
DATA = "data.json"
"""Shape of the images, classes, sizes of the splits, normalisation, fingerprint of the data."""
SPACE = "space.json"
"""The SearchSpaceSpec."""
STATUS = "status.json"
"""running, interrupted, failed or done; how often resumed and with what changes; peak memory."""
METRICS = "metrics.jsonl"
"""A line for each step, epoch and stage of a training."""
TRIALS = "trials.jsonl"
"""A line for each trial of a multi-trial search, in the order in which they ended."""
OBJECTIVE = "objective.json"
"""The metric that the trials are scored by, and what else was measured: names, units, directions."""
TRIAL_ERRORS = "errors.txt"
"""The tracebacks of trials that failed."""
TRIAL_WEIGHTS = "weights.pt"
"""In the directory of a trial: the weights of its network, if they are kept."""
ARCHITECTURES = "architectures"
"""The architecture as of each epoch."""
CHECKPOINT = "checkpoint.pt"
PREVIOUS_CHECKPOINT = "checkpoint.previous.pt"
"""The two newest complete checkpoints."""
ARCHITECTURE = "architecture.json"
"""The result of a search, or what a retraining trains."""
GENOTYPE = "genotype.txt"
"""The same as text, in spaces of cells."""
CELLS = "cells.svg"
"""The same as a picture."""
FACTS = "facts.json"
"""What the evaluator of a search knows of its result, such as its rank in a table."""
FRONT = "front.svg"
"""The Pareto front of a search with several objectives, as a picture."""
BEST_WEIGHTS = "best.safetensors"
LAST_WEIGHTS = "last.safetensors"
"""Of a retraining: the weights of its best and of its last epoch."""
COST = "cost.json"
"""Parameters, multiply-accumulates, memory and latency of the network."""
REPORT = "index.html"
"""The report."""
TENSORBOARD = "tensorboard"
"""TensorBoard files, if they were asked for."""
LOCK = "lock"
"""Held by the process that works on the run."""
REPEATS = "repeats.json"
"""Makes a directory a retraining repeated with several seeds, each a run in ``seed-N``."""
SUMMARY = "summary.json"
"""Mean and standard deviation of a repeated retraining."""


def epoch_architecture(epoch: int) -> str:
    """Return the name of the file with the architecture as of an epoch, which counts from 1."""
    return f"{ARCHITECTURES}/epoch-{epoch:04}.json"


def trial_directory(trial: int) -> str:
    """Return the name of the directory of a trial that trains; ids count from 1."""
    return f"trials/{trial:06}"


def front_architecture(trial: int) -> str:
    """Return the name of the file with the architecture of a trial on the Pareto front."""
    return f"front/trial-{trial:06}.json"


def seed_directory(seed: int) -> str:
    """Return the name of the run of one seed in a repeated retraining."""
    return f"seed-{seed}"
