"""Where tasks are done, such as the trials of a search: in this process, in worker processes, on any executor.

Plugins provide others, such as one for a cluster.
"""

from __future__ import annotations

from nasreg.executors.base import Outcome, PackedWork, R, Start, T, TaskExecutor, TrialExecutor, Work
from nasreg.executors.futures import FuturesExecutor
from nasreg.executors.processes import GRACE_SECONDS, WorkerProcesses, process_executor, send_to_main_process
from nasreg.executors.serial import SerialExecutor

__all__ = [
    "GRACE_SECONDS",
    "FuturesExecutor",
    "Outcome",
    "PackedWork",
    "R",
    "SerialExecutor",
    "Start",
    "T",
    "TaskExecutor",
    "TrialExecutor",
    "Work",
    "WorkerProcesses",
    "process_executor",
    "send_to_main_process",
]
