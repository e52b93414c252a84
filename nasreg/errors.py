"""Every error a user can cause: one line that says what is wrong, where, and what to do.

The class decides the exit code of the command line (``exit_code``). The message is complete in itself, since the
command line prints it alone, without a traceback.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable


class NasregError(Exception):
    """Base of all errors raised on purpose by nasreg. Exit code 1: the work failed."""

    exit_code = 1


class UsageError(NasregError):
    """An invalid request. Exit code 2: wrong usage."""

    exit_code = 2


class UnknownNameError(UsageError, LookupError):
    """A name that nothing is registered under."""


class ConfigError(UsageError, ValueError):
    """An option that does not exist, or a value it cannot take."""


class DataError(UsageError, ValueError):
    """A data set that is missing, unreadable, or not a classification set of equally large images."""


class SpaceError(UsageError, ValueError):
    """A search space that contradicts itself or does not fit the images."""


class UndecidedError(UsageError, RuntimeError):
    """A model with choices was called, but nothing decides them."""


class IncompatibleError(UsageError):
    """An algorithm or evaluator that does not fit the search space, or a space without the networks that are needed."""


class ArchitectureError(UsageError, ValueError):
    """An architecture that is malformed or belongs to another search space."""


class RunDirectoryError(UsageError):
    """A run directory that is not empty, not a run, or cannot be resumed."""


class WeightsError(UsageError, ValueError):
    """Weights that cannot be read, or that are of another network."""


class ExportError(NasregError):
    """A network that cannot be exported, or whose file computes something else."""


class CheckpointError(NasregError):
    """No checkpoint of the run can be read."""


class StorageError(NasregError):
    """A file cannot be written, such as on a full disk.

    Attributes:
        errno: Number of the error of the operating system.
    """

    def __init__(self, message: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno


class PluginError(NasregError):
    """A plugin failed to load or broke the plugin contract."""


class TrainingError(NasregError):
    """The training itself failed: out of memory, or a loss that is not finite."""


class SampleError(DataError, TrainingError):
    """A sample that cannot be used in the middle of a training. Exit code 1: the run can be resumed.

    Args:
        message: What is wrong, and what to do.
        part: The part of the data set, such as ``train``.
        index: Index of the sample in it.
        label: Its label.
        total: Number of samples in that part.
        path: Path of its file, if the data set tells it.
    """

    exit_code = 1

    def __init__(self, message: str, part: str, index: int, label: int, total: int, path: str | None) -> None:
        super().__init__(message)
        self.part, self.index, self.label, self.total, self.path = part, index, label, total, path

    def __reduce__(self) -> tuple[type[SampleError], tuple[object, ...]]:
        return type(self), (str(self), self.part, self.index, self.label, self.total, self.path)


class InterruptedRunError(NasregError):
    """The run was interrupted by the user and left a checkpoint behind. Exit code 130."""

    exit_code = 130


class NasregWarning(UserWarning):
    """Something that a user should know and that stops nothing; the command line prints it as one line on stderr."""


def one_line(error: BaseException) -> str:
    """Return kind and text of an error of other people's code in one line, such as ``ValueError: no channels``.

    The text of an error of nasreg is complete without its kind.
    """
    text = " ".join(str(error).split())
    if isinstance(error, NasregError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


_warned: set[str] = set()


def warn_once(message: str) -> None:
    """Warn, unless this process has given the same warning before."""
    if message not in _warned:
        _warned.add(message)
        warnings.warn(message, NasregWarning, stacklevel=2)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest of ``known``, or a list of the valid names.

    Args:
        word: The name that the user wrote.
        known: The valid names.

    Returns:
        A sentence with a leading space, so that it can be appended to any message.
    """
    names = sorted(set(known))
    near = difflib.get_close_matches(word, names, n=2, cutoff=0.6)
    if near:
        return f" Did you mean {' or '.join(repr(name) for name in near)}?"
    if not names:
        return " There are none."
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f" There are: {shown}."
