"""Options of the trainers, each with the values of a published program as defaults. Imports no torch.

What an option means to a run that is resumed is said with it; see ``nasreg.specs.base.ResumeKind``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from nasreg.specs.architecture import Architecture
from nasreg.specs.base import EXECUTION, EXECUTION_BITS, EXTENDS, Config

Beta = Annotated[float, Field(ge=0, lt=1)]
SkipSchedule = Literal["constant", "linear", "cosine", "slow_cosine"]


class TrainerConfig(Config):
    """Options that every trainer has."""

    batch_size: int = Field(default=64, ge=1, description="samples in a step, of the train split and of the arch split")
    accumulate: int = Field(
        default=1,
        ge=1,
        description="number of pieces that a batch is computed in, one after the other, to save memory;"
        " BatchNorm normalises each by itself, so that none is smaller than two samples",
        json_schema_extra=EXECUTION_BITS,
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="bfloat16: mixed precision by torch.autocast"
    )
    deterministic: bool = Field(
        default=True,
        description="use only algorithms that give the same bits each time; off may be faster on CUDA",
        json_schema_extra=EXECUTION_BITS,
    )
    checkpoint_minutes: float = Field(
        default=10.0,
        gt=0,
        description="minutes between checkpoints within an epoch; there is one after each epoch too",
        json_schema_extra=EXECUTION,
    )
    keep_freed_memory: bool = Field(
        default=True,
        description="on a CPU with glibc (Linux), keep freed memory for the next step until the run ends, instead of"
        " returning it to the system; a variable MALLOC_... or GLIBC_TUNABLES takes precedence",
        json_schema_extra=EXECUTION,
    )


class ProcessesConfig(TrainerConfig):
    """Options of a trainer that can work in several processes; ``batch_size`` is that of all of them together."""

    sync_batch_norm: bool = Field(
        default=False,
        description="with several processes (torchrun), let BatchNorm normalise by the statistics of the whole batch,"
        " which takes far more time, instead of by those of the part that a process computes",
        json_schema_extra=EXECUTION_BITS,
    )


class OneShotTrainerConfig(ProcessesConfig):
    """Options of a one-shot trainer; an algorithm's own config adds its optimisers and schedule."""

    epochs: int = Field(default=50, ge=1, description="passes over the train split")
    execution: Literal["optimized", "plain"] = Field(
        default="optimized",
        description="how the supernet is computed: several times as fast, or candidate by candidate as in the paper's"
        " formula; the numbers are the same but for rounding",
        json_schema_extra=EXECUTION_BITS,
    )
    block_costs: str | None = Field(
        default=None,
        description="file with the costs of the blocks of the supernet, as block_costs.json of a run or 'nasreg profile"
        " --blocks --json' has them; by default they are measured where an option needs them",
    )
    activation_checkpointing: bool = Field(
        default=False,
        description="compute two of three cells or choices again in the backward pass, which takes a fraction of the"
        " memory and somewhat more time",
        json_schema_extra=EXECUTION_BITS,
    )


class SinglePathTrainerConfig(OneShotTrainerConfig):
    """Options of the training of a supernet along single paths."""

    optimizer: Literal["sgd", "adamw"] = Field(default="sgd", description="optimiser of the supernet's weights")
    lr: float = Field(default=0.025, gt=0, description="learning rate of the supernet's weights in the first epoch")
    lr_min: float = Field(default=0.0, ge=0, description="learning rate that schedule cosine or linear ends at")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        default="cosine", description="how the learning rate falls from epoch to epoch"
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of SGD")
    weight_decay: float = Field(default=3e-4, ge=0, description="weight decay of the weights that a step computes")
    grad_clip: float | None = Field(default=5.0, gt=0, description="maximum norm of the gradient; null for no limit")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="label smoothing of the loss")


class BilevelTrainerConfig(OneShotTrainerConfig):
    """Options of the bilevel optimisation; the defaults are those of the DARTS program (arXiv 1806.09055).

    From ``warmup_epochs`` on they are parts of other algorithms, which any algorithm with this trainer can have.
    """

    lr: float = Field(default=0.025, gt=0, description="learning rate of the weights in the first epoch (SGD)")
    lr_min: float = Field(default=0.001, ge=0, description="learning rate that its cosine ends at")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of SGD")
    nesterov: bool = Field(default=False, description="Nesterov's form of the momentum, which must be above 0")
    weight_decay: float = Field(default=3e-4, ge=0, description="weight decay of the weights")
    grad_clip: float = Field(default=5.0, gt=0, description="maximum norm of the gradient of the weights")
    arch_lr: float = Field(default=3e-4, gt=0, description="learning rate of the architecture parameters (Adam)")
    arch_betas: tuple[Beta, Beta] = Field(default=(0.5, 0.999), description="betas of Adam")
    arch_weight_decay: float = Field(default=1e-3, ge=0, description="weight decay of the architecture parameters")
    arch_grad_clip: float | None = Field(
        default=None,
        gt=0,
        description="maximum norm of the gradient of the architecture parameters; null for no limit",
    )
    max_parameters: int | None = Field(
        default=None,
        ge=1,
        description="budget: architectures that are expected to have more parameters (at the size of the search) are"
        " penalised in proportion to the excess, not excluded; see budget_weight",
    )
    max_macs: float | None = Field(
        default=None, gt=0, description="budget of the expected multiply-accumulates for one image, as max_parameters"
    )
    max_latency_ms: float | None = Field(
        default=None,
        gt=0,
        description="budget of the expected latency of one image on the device, in milliseconds, as max_parameters; the"
        " latency of each block is measured when the search begins",
    )
    budget_weight: float = Field(
        default=1.0, ge=0, description="factor of the penalty, which is the sum of the relative excesses over budgets"
    )
    warmup_epochs: int = Field(
        default=0, ge=0, description="first epochs, which train weights only, no architecture parameters"
    )
    partial_channels: int = Field(
        default=1,
        ge=1,
        description="K: let 1/K of the channels through the candidates of a cell's edges and the others past them,"
        " which takes a fraction of time and memory (arXiv 1907.05737); 1 for all channels",
    )
    auxiliary_skip: float = Field(
        default=0.0,
        ge=0,
        description="weight, in the first epoch, of a further skip connection on each edge of a cell that has one among"
        " its candidates; it falls to 0 and is not derived (arXiv 2009.01027); 0 for none",
    )
    auxiliary_skip_schedule: SkipSchedule = Field(default="linear", description="how that weight falls over the epochs")
    perturbation: float = Field(
        default=0.0,
        ge=0,
        description="maximum of the uniform noise that the weights of candidates have in the training of the supernet's"
        " weights; it rises linearly with the epochs, from 0.03 at most (arXiv 2002.05283)",
    )
    skip_limit: int | None = Field(
        default=None,
        ge=0,
        description="maximum number of skip_connect in the architecture's normal cells: an epoch after which one has"
        " more is the last one, or the last that trains architecture parameters (arXiv 1909.06035); null for no limit",
    )
    skip_limit_action: Literal["stop", "freeze"] = Field(
        default="stop",
        description="what happens above skip_limit: stop ends the search, freeze continues with the weights only",
    )

    @model_validator(mode="after")
    def _learns(self) -> BilevelTrainerConfig:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs={self.warmup_epochs}, but there are epochs={self.epochs}: no architecture parameter"
                " would be learned. Lower warmup_epochs, or raise epochs"
            )
        return self

    @model_validator(mode="after")
    def _has_momentum(self) -> BilevelTrainerConfig:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov=true needs momentum above 0: raise momentum, or set nesterov=false")
        return self


def _architecture_text(value: Any) -> Any:
    return value.to_json() if isinstance(value, Architecture) else value


def _check_budget(value: Any) -> Any:
    expected = "a number above 0, or a share of the largest architecture such as 50%"
    if isinstance(value, str):
        number = value.strip().removesuffix("%")
        if not value.strip().endswith("%") or not _is_positive(number):
            raise ValueError(f"expected {expected}, got {value!r}")
        return f"{number.strip()}%"
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ValueError(f"expected {expected}, got {value!r}")
    return value


def _is_positive(text: str) -> bool:
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False


Budget = Annotated[int | float | str, BeforeValidator(_check_budget)]
"""An upper bound: a number, or text such as ``50%`` for a share of the largest architecture."""


class MultiTrialTrainerConfig(Config):
    """Options of a multi-trial search, whatever the algorithm; what a trial is worth, its evaluator says."""

    max_trials: int = Field(
        default=20, ge=1, description="number of architectures to evaluate", json_schema_extra=EXTENDS
    )
    max_seconds: float | None = Field(
        default=None,
        gt=0,
        description="time that ends the search when the trials have taken it in all, in seconds: the time of their"
        " evaluations, or where a table states what they would have taken, that simulated time",
        json_schema_extra=EXTENDS,
    )
    max_failures: int = Field(
        default=5,
        ge=1,
        description="number of trials in a row whose failure ends the search",
        json_schema_extra=EXECUTION,
    )
    max_parameters: Budget | None = Field(
        default=None,
        description="budget: an architecture whose network has more parameters is rejected and not evaluated; a number,"
        " or a share of the largest architecture such as 50%",
    )
    max_macs: Budget | None = Field(
        default=None, description="budget of multiply-accumulates for one image, as max_parameters"
    )
    max_latency_ms: Budget | None = Field(
        default=None, description="budget of the latency of one image on the device, in milliseconds, as max_parameters"
    )
    max_rejected: int = Field(
        default=1000,
        ge=1,
        description="number of proposals rejected in a row that ends the search with what it has",
        json_schema_extra=EXECUTION,
    )
    duplicates: Literal["evaluate", "reject"] = Field(
        default="evaluate", description="reject: an architecture that was proposed before is not evaluated again"
    )
    filter: str | None = Field(
        default=None,
        description="'package.module:name' or 'folder/file.py:name' of a function that takes an architecture and"
        " returns whether to evaluate it",
    )
    initial: tuple[Annotated[str, BeforeValidator(_architecture_text)], ...] = Field(
        default=(),
        description="architectures to evaluate first, before the algorithm proposes its own: run directories,"
        " architecture.json files, genotypes or their names",
    )


class RetrainConfig(ProcessesConfig):
    """Options of a retraining; the defaults are those of the DARTS program for CIFAR (arXiv 1806.09055)."""

    epochs: int = Field(default=600, ge=1, description="passes over the train split")
    batch_size: int = Field(default=96, ge=1, description="samples in a step")
    optimizer: Literal["sgd", "adamw"] = Field(default="sgd", description="optimiser of the weights")
    lr: float = Field(default=0.025, gt=0, description="learning rate in the first epoch")
    lr_min: float = Field(default=0.0, ge=0, description="learning rate that schedule cosine or linear ends at")
    schedule: Literal["cosine", "linear", "exponential"] = Field(
        default="cosine", description="how the learning rate falls from epoch to epoch"
    )
    lr_decay: float = Field(default=0.97, gt=0, le=1, description="factor per epoch, of schedule exponential")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of SGD")
    weight_decay: float = Field(default=3e-4, ge=0, description="weight decay")
    grad_clip: float = Field(default=5.0, gt=0, description="maximum norm of the gradient")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="label smoothing of the loss")
    drop_path: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="maximum rate at which a sample skips an operation; it rises from 0 with the epochs",
    )
    auxiliary_weight: float = Field(
        default=0.4, ge=0, description="weight of the auxiliary head's loss; 0 for no such head"
    )
    ema: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="decay of the exponential moving average of the weights, which is then measured and saved;"
        " 0 for none",
    )
    channels_last: bool = Field(
        default=False, description="memory format that is faster on many devices", json_schema_extra=EXECUTION_BITS
    )
