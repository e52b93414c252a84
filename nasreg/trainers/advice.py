"""What torch and the arithmetic of a training report, as one line that names the options that help."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from torch import nn

from nasreg.errors import ConfigError, NasregError, TrainingError
from nasreg.specs.metrics import split_name
from nasreg.trainers.config import TrainerConfig
from nasreg.trainers.context import RunContext
from nasreg.trainers.device import is_out_of_memory

MIN_PIECE = 2
"""Minimum number of samples in a piece of a batch: BatchNorm cannot normalise a single one."""


def number_of_pieces(samples: int, accumulate: int) -> int:
    """Return the number of pieces that a batch is computed in."""
    return max(1, min(accumulate, samples // MIN_PIECE))


def piece_size(config: TrainerConfig) -> int:
    """Return the number of samples in the largest piece of a batch."""
    return -(-config.batch_size // number_of_pieces(config.batch_size, config.accumulate))


class Advice:
    """The errors of one training.

    Args:
        context: The run.
        config: Options of the training.
        section: Section of these options, as a user writes it.
        resume: Returns the command that resumes the run with more arguments; None where no command does.
    """

    def __init__(
        self, context: RunContext, config: TrainerConfig, section: str, resume: Callable[..., str] | None
    ) -> None:
        self._context = context
        self._config = config
        self._section = section
        self._resume = resume

    def explain(self, error: Exception) -> NasregError | None:
        """Return the error that a user can act on, in place of one of torch; None for an error of another kind."""
        text = str(error)
        if is_out_of_memory(error):
            return TrainingError(self._out_of_memory())
        if isinstance(error, ValueError) and "more than 1 value per channel" in text and self._config.batch_size == 1:
            return ConfigError(
                f"{self._section}.batch_size=1: BatchNorm cannot normalise a batch of one sample with one value per"
                " channel. Set it to 2 or more, in a new run"
            )
        if isinstance(error, RuntimeError) and "does not have a deterministic implementation" in text:
            operation = text.split(maxsplit=1)[0]
            return TrainingError(
                f"{operation} has no deterministic implementation on {self._context.device}: use another operation in"
                f" the model, or allow it: {self._with(f'{self._section}.deterministic=false')}"
            )
        return None

    def not_finite(self, kind: str, loss: float, where: str) -> TrainingError:
        """Return the error of a loss that is not finite.

        Args:
            kind: Which loss it is.
            loss: Its value.
            where: When it was computed, such as ``in epoch 1, step 3``.
        """
        option = f" ({self._section}.lr)" if hasattr(self._config, "lr") else ""
        return TrainingError(
            f"the {kind} loss is {loss} {where}: start a new run with a lower learning rate{option}, or check the data"
        )

    def check_measured(self, metrics: Mapping[str, float], model: nn.Module, where: str) -> None:
        """Check the result of the last step of an epoch: that of each other step, the next one checks.

        Args:
            metrics: What was measured, by ``{split}_{metric}``.
            model: The model, whose parameters are checked where no loss was measured.
            where: When it was measured.

        Raises:
            TrainingError: A loss is not finite.
        """
        losses = {name: value for name, value in metrics.items() if split_name(name)[1] == "loss"}
        for name, value in losses.items():
            if not math.isfinite(value):
                raise self.not_finite(split_name(name)[0] or "measured", value, where)
        if not losses and not all(bool(parameter.isfinite().all()) for parameter in model.parameters()):
            raise self.not_finite("training", math.nan, where)

    def _out_of_memory(self) -> str:
        config, section = self._config, self._section
        space = self._context.spec.space.options
        size = ", ".join(f"space.{name}={space[name]}" for name in ("cells", "channels") if name in space)
        lower = (
            f"out of memory on {self._context.device} with {section}.batch_size={config.batch_size}"
            f"{', ' + size if size else ''}: lower {'one of them' if size else 'it'} in a new run"
        )
        more = 2 * number_of_pieces(config.batch_size, config.accumulate)
        if more > config.batch_size // MIN_PIECE:
            return lower
        return f"{lower}, or compute each batch in pieces: {self._with(f'{section}.accumulate={more}')}"

    def _with(self, setting: str) -> str:
        return f"--set {setting}" if self._resume is None else self._resume("resume", "--set", setting)
