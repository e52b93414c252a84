"""What a checkpoint can hold: only what torch's safe loader reads back, which runs no code of the file."""

from __future__ import annotations

import io
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from nasreg.errors import CheckpointError, one_line

_PLAIN = (type(None), bool, int, float, str, bytes, Tensor, nn.Parameter)


def check_state(state: Any) -> None:
    """Check that a checkpoint can hold a state.

    Args:
        state: What is to be saved.

    Raises:
        CheckpointError: Something in it could not be read back; the message says where and what it is.
    """
    found = _unreadable(state, ())
    if found is not None:
        path, kind = found
        raise CheckpointError(
            f"a checkpoint cannot hold {'.'.join(path)}, a {kind}: loading it could run code, so that the run could not"
            " be resumed. Keep tensors, numbers, text, and lists and dictionaries of them in state_dict and"
            " get_extra_state"
        )


def check_loadable(model: nn.Module) -> None:
    """Check that a model can load its own state, by loading it.

    Raises:
        CheckpointError: It cannot.
    """
    try:
        model.load_state_dict(model.state_dict())
    except Exception as error:
        raise CheckpointError(
            f"the model cannot load its own state, so that the run could not be resumed ({one_line(error)}): check its"
            " state_dict, load_state_dict and set_extra_state"
        ) from error


def _unreadable(value: Any, path: tuple[str, ...]) -> tuple[tuple[str, ...], str] | None:
    """Return where the first part is that cannot be read back, and its type."""
    if type(value) in _PLAIN:
        return None
    if type(value) in (dict, OrderedDict) and all(type(key) in _PLAIN for key in value):
        parts = ((str(key), inner) for key, inner in value.items())
    elif type(value) in (list, tuple):
        parts = ((str(number), inner) for number, inner in enumerate(value))
    else:
        return None if _survives(value) else (path, type(value).__qualname__)
    return next((found for name, inner in parts if (found := _unreadable(inner, (*path, name)))), None)


def _survives(value: Any) -> bool:
    file = io.BytesIO()
    try:
        torch.save(value, file)
        file.seek(0)
        torch.load(file, weights_only=True)
    except Exception:  # noqa: BLE001  # whatever it is, a checkpoint cannot hold the value
        return False
    return True
