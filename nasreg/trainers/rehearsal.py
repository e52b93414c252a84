"""A few steps of a training, for their time and memory: nothing is written, and the model is thrown away."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from nasreg.errors import one_line
from nasreg.trainers.advice import piece_size
from nasreg.trainers.device import peak_memory, reproducible
from nasreg.trainers.functional import set_training_mode
from nasreg.trainers.loop import EpochTrainer

MAX_STEPS = 4
"""Steps of an epoch, the first of which is not measured: it prepares what later ones use."""

MAX_SECONDS = 3.0
"""Time after which no further step of an epoch is measured."""


@dataclass(frozen=True)
class Rehearsal:
    """What a few steps took."""

    step_seconds: float
    """Duration of a step of the epoch whose steps take the longest."""
    epoch_seconds: float
    """Mean duration of an epoch, validation included."""
    total_seconds: float
    """Estimated duration of all epochs."""
    epochs: int
    steps: int
    """Steps of an epoch."""
    peak_bytes: int | None
    """See ``peak_memory``."""
    problems: tuple[str, ...]
    """What went wrong in a later epoch than the first, one sentence each."""


def rehearse(trainer: EpochTrainer) -> Rehearsal:
    """Do a few steps of the first and of the last epoch with a new model, and estimate the time of all epochs.

    Where some epochs take batches of the arch split and others do not, those of both kinds are measured. Times between
    two measured epochs are interpolated. The trainer holds the model afterwards; it cannot be used for a run.

    Args:
        trainer: A trainer that has not been used.

    Raises:
        Exception: Anything that the model or the trainer raises in the first epoch.
        TrainingError: Out of memory, or a loss that is not finite.
    """
    context, config = trainer.context, trainer.config
    if context.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(context.device)
    try:
        with reproducible(context.spec.seed, context.device, deterministic=config.deterministic):
            trainer.setup()
            steps = context.data.splits["train"].steps(config.batch_size)
            measured: dict[int, float] = {}
            of_arch: dict[int, float] = {}
            problems = []
            for epoch in _typical_epochs(trainer):
                try:
                    measured[epoch] = _step_seconds(trainer, epoch)
                    if trainer.arch_steps(epoch):
                        of_arch[epoch] = _arch_step_seconds(trainer, epoch)
                except Exception as error:
                    if not measured:
                        raise
                    reason = one_line(trainer.advice.explain(error) or error)
                    problems.append(f"a step of epoch {epoch + 1} failed: {reason}")
            peak = peak_memory(context.device)
            validation = _validation_seconds(trainer)
    except Exception as error:
        explained = trainer.advice.explain(error)
        if explained is not None:
            raise explained from error
        raise
    finally:
        context.data.close()
    total = sum(_interpolated(trainer, measured, epoch) * steps + validation for epoch in range(trainer.epochs))
    if of_arch:
        mean = sum(of_arch.values()) / len(of_arch)
        total += sum(mean * trainer.arch_steps(epoch) for epoch in range(trainer.epochs))
    return Rehearsal(
        step_seconds=max(measured.values()),
        epoch_seconds=total / trainer.epochs,
        total_seconds=total,
        epochs=trainer.epochs,
        steps=steps + trainer.arch_steps(0),
        peak_bytes=peak,
        problems=tuple(problems),
    )


def _typical_epochs(trainer: EpochTrainer) -> list[int]:
    """Return the first and the last epoch of those with batches of the arch split, and of those without."""
    kinds: dict[bool, list[int]] = {}
    for epoch in range(trainer.epochs):
        kinds.setdefault(_takes_arch(trainer, epoch), []).append(epoch)
    return sorted({epoch for epochs in kinds.values() for epoch in (epochs[0], epochs[-1])})


def _takes_arch(trainer: EpochTrainer, epoch: int) -> bool:
    return trainer.pairs_batches(epoch)


def _step_seconds(trainer: EpochTrainer, epoch: int) -> float:
    """Do a few steps of an epoch, and return the mean time of one, with the reading of its batches."""
    splits, size = trainer.context.data.splits, trainer.config.batch_size
    trainer.state.epoch = epoch
    trainer.start_epoch(epoch)
    set_training_mode(trainer.model)
    train = splits["train"].batches(batch_size=size, epoch=epoch, steps=MAX_STEPS)
    takes_arch = _takes_arch(trainer, epoch)
    arch = splits["arch"].batches(batch_size=size, epoch=epoch, steps=MAX_STEPS) if takes_arch else None
    return _mean_seconds(
        lambda: trainer.train_step(next(train), next(arch) if arch is not None else None), trainer.context.device
    )


def _arch_step_seconds(trainer: EpochTrainer, epoch: int) -> float:
    """Do a few of the ``arch_steps`` of an epoch, and return the mean time of one."""
    size = trainer.config.batch_size
    arch = trainer.context.data.splits["arch"].batches(batch_size=size, epoch=epoch, steps=MAX_STEPS)
    return _mean_seconds(lambda: trainer.arch_step(next(arch)), trainer.context.device)


def _mean_seconds(step: Callable[[], object], device: torch.device) -> float:
    times: list[float] = []
    for _ in range(MAX_STEPS):
        began = time.perf_counter()
        step()
        _synchronize(device)
        times.append(time.perf_counter() - began)
        if sum(times) > MAX_SECONDS:
            break
    later = times[1:] or times
    return sum(later) / len(later)


def _validation_seconds(trainer: EpochTrainer) -> float:
    """Return the estimated time of the measurement after an epoch, from its first batches."""
    splits = trainer.context.data.splits
    samples = next((splits[name] for name in ("validation", "arch") if len(splits[name])), None)
    if samples is None:  # then nothing is measured
        return 0.0
    size = piece_size(trainer.config)
    trainer.model.eval()
    done = 0
    began = time.perf_counter()
    with torch.no_grad():
        for x, _ in samples.batches(batch_size=size, epoch=0, train=False):
            with trainer.autocast():
                trainer.model(x)
            _synchronize(trainer.context.device)
            done += len(x)
            if time.perf_counter() - began > MAX_SECONDS / 2:
                break
    return (time.perf_counter() - began) * len(samples) / done


def _interpolated(trainer: EpochTrainer, measured: dict[int, float], epoch: int) -> float:
    takes_arch = _takes_arch(trainer, epoch)
    alike = [each for each in measured if _takes_arch(trainer, each) == takes_arch] or list(measured)
    before = max((each for each in alike if each <= epoch), default=alike[0])
    after = min((each for each in alike if each >= epoch), default=alike[-1])
    if before == after:
        return measured[before]
    share = (epoch - before) / (after - before)
    return measured[before] * (1 - share) + measured[after] * share


def _synchronize(device: torch.device) -> None:
    if device.type != "cpu":
        torch.get_device_module(device).synchronize()
