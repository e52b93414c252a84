"""Reads pickles of other people's data without running any code that is in them. Imports no torch.

A pickle is a program: ``pickle.load`` runs whatever its author has put into it. This unpickler makes dicts, lists,
tuples, sets, texts, bytes, numbers, booleans and None, and refuses everything else, unless the caller names it.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from nasreg.errors import ConfigError, one_line

_OrdinaryError = (pickle.UnpicklingError, ValueError, TypeError, LookupError, AttributeError, EOFError, MemoryError)
"""What the unpickler raises for bytes that are no pickle, or not a complete one."""


class _PlainUnpickler(pickle.Unpickler):
    """Makes plain containers and numbers, and calls nothing but what is allowed."""

    def __init__(self, file: io.BufferedIOBase, allowed: Mapping[str, Callable[..., Any]]) -> None:
        super().__init__(file)
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a global of the pickle.

        Raises:
            UnpicklingError: It is not allowed.
        """
        found = self._allowed.get(f"{module}:{name}")
        if found is None:
            raise pickle.UnpicklingError(f"it would call {module}.{name}, which plain data do not need")
        return found

    def persistent_load(self, pid: Any) -> NoReturn:
        """Refuse a reference to an object outside.

        Raises:
            UnpicklingError: Always.
        """
        raise pickle.UnpicklingError(f"it refers to an object outside of it ({pid!r:.40})")


class _NumberType:
    """Stands for a ``numpy.dtype`` of numbers in a pickle.

    Args:
        code: Such as ``f8``.
        rest: What else numpy's own pickles give.
    """

    def __init__(self, code: str, *rest: Any) -> None:
        del rest
        if not isinstance(code, str) or not re.fullmatch(r"[fiu][1248]|b1", code):
            raise pickle.UnpicklingError(f"it has numbers of the unknown type {code!r:.20}")
        self.code, self.order = code, "<"

    def __setstate__(self, state: Any) -> None:
        self.order = ">" if state[1] == ">" else "<"


def _number(kind: _NumberType, data: bytes) -> Any:
    """Return the Python number in the bytes of a numpy scalar."""
    if not isinstance(kind, _NumberType):
        raise pickle.UnpicklingError("it has a scalar without the type of a number")
    return np.frombuffer(data, np.dtype(f"{kind.order}{kind.code}"), 1)[0].item()


NUMPY_SCALARS: Mapping[str, Callable[..., Any]] = {
    "numpy:dtype": _NumberType,
    "numpy.core.multiarray:scalar": _number,
    "numpy._core.multiarray:scalar": _number,
}
"""What ``allowed`` has to be for a pickle with scalars of numpy, which become Python's numbers."""


def load_plain_pickle(path: Path, allowed: Mapping[str, Callable[..., Any]] | None = None) -> Any:
    """Return the content of a pickle that holds plain containers and numbers.

    Args:
        path: The file.
        allowed: ``"module:name"`` of a global that the pickle may name -> what is called in its place. It has to be
            harmless with any arguments.

    Raises:
        ConfigError: The file cannot be read, is no pickle, or would call anything else.
    """
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file, allowed or {}).load()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except _OrdinaryError as error:
        raise ConfigError(f"{path} cannot be read as a pickle of plain data: {one_line(error)}") from error
