"""Tasks: what a network predicts, how its targets are read, its loss and its metrics. Imports torch when used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nasreg.errors import UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from nasreg.tasks.base import Statistics, Task
    from nasreg.tasks.classification import Classification

_HOME = {
    "Classification": "nasreg.tasks.classification",
    "Statistics": "nasreg.tasks.base",
    "Task": "nasreg.tasks.base",
}
_TASKS = {"classification": "Classification"}

__all__ = ["Classification", "Statistics", "Task", "get_task"]


def get_task(name: str) -> Task:
    """Return a task by name.

    Raises:
        UnknownNameError: There is none of that name.
    """
    if name not in _TASKS:
        raise UnknownNameError(f"there is no task {name!r}.{did_you_mean(name, _TASKS)}")
    task: Task = __getattr__(_TASKS[name])()
    return task


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
