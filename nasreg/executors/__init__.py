"""Where trials are evaluated: in this process, in worker processes, on any ``concurrent.futures.Executor``."""

from __future__ import annotations

from nasreg.executors.base import Outcome, TrialExecutor
from nasreg.executors.futures import FuturesExecutor
from nasreg.executors.processes import ProcessExecutor, WorkerProcesses
from nasreg.executors.serial import SerialExecutor

__all__ = ["FuturesExecutor", "Outcome", "ProcessExecutor", "SerialExecutor", "TrialExecutor", "WorkerProcesses"]
