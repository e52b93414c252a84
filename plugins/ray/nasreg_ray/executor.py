"""An executor that does tasks on the nodes of a Ray cluster. Imports no torch.

Each worker is an agent on a node (``nasreg_ray.agent``). A task whose agent is lost, with its node or alone, is done
again by another one, and another agent is asked for. Tasks wait in a queue here, so that a search with k workers gives
the same result whatever number of agents the cluster has room for.
"""

from __future__ import annotations

import contextlib
import pickle
import time
import uuid
import weakref
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import ray
import ray.cloudpickle
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from nasreg.errors import ConfigError, NasregError, TrainingError, UsageError, one_line
from nasreg.events import Notice
from nasreg.executors import GRACE_SECONDS, PackedWork, R, T, TaskExecutor, Work
from nasreg_ray import agent
from nasreg_ray.cluster import check_versions, connect, versions_here
from nasreg_ray.code import user_code
from nasreg_ray.config import RayConfig

ATTEMPTS = 3
"""Number of agents that may be lost while they do one task."""

FAILED_STARTS = 5
"""Number of agents in a row that may be lost before they are ready."""

POLL_SECONDS = 0.5
"""Time after which an agent sends the events of its task."""

CLOSE_SECONDS = 5.0
"""Time that agents have to clean up."""

COMMON = ("nasreg", "nasreg-ray", "torch")
"""Packages that every worker needs."""


@dataclass
class _Given(Generic[T]):
    """A task, and which attempt to do it this is."""

    task: T
    attempt: int = 1


class _Agent(Generic[T]):
    """An agent, as this process knows it."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.node = ""
        self.ready = False
        self.given: _Given[T] | None = None


class RayExecutor(TaskExecutor[T, R]):
    """Does tasks on a Ray cluster.

    Args:
        work: The work.
        config: The cluster, and what each worker takes of it.

    Raises:
        ConfigError: There is no such cluster, or it cannot have such workers.
        UsageError: The work cannot be sent to it.
    """

    def __init__(self, work: Work[T, R], config: RayConfig) -> None:
        self.workers = len(work.devices)
        self._work = work
        self._config = config
        on_cuda = work.devices[0].startswith("cuda")
        self._gpus = config.gpus if config.gpus is not None else float(on_cuda)
        if on_cuda and not self._gpus:
            raise ConfigError("executor.gpus is 0, but the trials are on cuda: set --device cpu")
        self._device = "cuda" if self._gpus else work.devices[0]
        packed: PackedWork[T, R] = work.pack()
        self._sealed = pickle.dumps(packed.start), pickle.dumps(packed.do)
        self._code = user_code([*packed.pickles, *self._sealed]).message()
        self._versions = versions_here((*COMMON, *work.distributions))
        self._agents: list[_Agent[T]] = []
        self._refs: dict[Any, _Agent[T]] = {}
        """What an agent is asked for and has not answered yet."""
        self._queue: deque[_Given[T]] = deque()
        self._token: Path | None = None
        self._failed_starts = 0
        self._ready_at = time.monotonic()
        """When an agent was ready last."""
        self._told: set[str] = set()
        owned = connect(config.model_copy(update={"gpus": self._gpus}), self.workers)
        self._disconnect = weakref.finalize(self, ray.shutdown if owned else _do_nothing)

    def submit(self, task: T) -> None:
        """Give a task to an agent, as soon as one is ready."""
        self._queue.append(_Given(task))
        self._ask_for_agents()
        self._dispatch()

    def poll(self, timeout: float) -> list[tuple[T, R]]:
        """Wait until one task ends at least, or for the time given."""
        end = time.monotonic() + timeout
        found: list[tuple[T, R]] = []
        while not found:
            left = end - time.monotonic()
            if left <= 0 or not self._refs:
                break
            refs = list(self._refs)
            if ray.wait(refs, num_returns=1, timeout=left)[0]:
                for ref in ray.wait(refs, num_returns=len(refs), timeout=0)[0]:
                    found += self._answered(ref)
            self._check_progress()
        return found

    # -- agents --------------------------------------------------------------------------------------------------------

    def _ask_for_agents(self) -> None:
        """Ask the cluster for as many agents as there are tasks."""
        busy = sum(each.given is not None for each in self._agents)
        while len(self._agents) < min(self.workers, busy + len(self._queue)):
            options = {"num_cpus": self._config.cpus, "num_gpus": self._gpus, "resources": self._config.resources}
            new: _Agent[T] = _Agent(_actor_class().options(**options).remote())
            self._agents.append(new)
            self._refs[new.handle.versions.remote(list(self._versions)[1:])] = new

    def _answered(self, ref: Any) -> list[tuple[T, R]]:
        """Take the answer of an agent, and ask for what comes next."""
        each = self._refs.pop(ref)
        try:
            answer = ray.get(ref)
        except RayTaskError as error:
            cause = error.cause if isinstance(error.cause, Exception) else error
            raise TrainingError(f"executor ray: a worker on node {each.node} failed: {one_line(cause)}") from error
        except RayError as error:
            return self._lost(each, error)
        if not each.node:
            each.node, versions = answer
            check_versions(self._versions, each.node, versions)
            token = None if (path := self._write_token()) is None else str(path)
            threads = max(1, int(self._config.cpus))
            request = each.handle.start.remote(*self._sealed, self._device, threads, self._code, token)
            self._refs[request] = each
            return []
        if not each.ready:
            self._started(each, shared=answer)
            return []
        return self._progressed(each, *answer)

    def _started(self, each: _Agent[T], *, shared: bool) -> None:
        if not shared and self._work.needs_directory:
            raise UsageError(
                f"executor ray: node {each.node} does not see {self._work.directory}: put the study on a file system"
                " that all nodes share, with --out"
            )
        if not shared:
            self._tell(
                f"node {each.node} does not see {self._work.directory}: trials there save no checkpoints, and one that"
                " is interrupted starts again"
            )
        each.ready = True
        self._failed_starts = 0
        self._dispatch()

    def _progressed(
        self, each: _Agent[T], events: list[Any], result: bytes | str | None, error: Exception | None
    ) -> list[tuple[T, R]]:
        for event in events:
            self._work.receive(event)
        if error is not None:
            raise (
                error
                if isinstance(error, NasregError)
                else TrainingError(f"executor ray: a worker on node {each.node} failed: {one_line(error)}")
            )
        if result is None:
            self._refs[each.handle.poll.remote(POLL_SECONDS)] = each
            return []
        given, each.given = each.given, None
        self._dispatch()
        return [] if given is None else [(given.task, self._opened(result))]

    def _opened(self, result: bytes | str) -> R:
        if isinstance(result, str):
            return self._work.lost(result)
        opened: R = pickle.loads(result)  # noqa: S301  # from a worker of ours
        return opened

    def _dispatch(self) -> None:
        """Give waiting tasks to agents that have none."""
        for each in self._agents:
            if self._queue and each.ready and each.given is None:
                each.given = self._queue.popleft()
                each.handle.begin.remote(pickle.dumps(each.given.task))
                self._refs[each.handle.poll.remote(POLL_SECONDS)] = each

    def _lost(self, each: _Agent[T], error: RayError) -> list[tuple[T, R]]:
        """Repeat the task of an agent that was lost, and ask for another agent."""
        self._agents.remove(each)
        with contextlib.suppress(RayError):
            ray.kill(each.handle)
        if not each.ready:
            self._failed_starts += 1
            if self._failed_starts >= FAILED_STARTS:
                raise TrainingError(
                    f"executor ray: {FAILED_STARTS} workers ended before they were ready, the last one with"
                    f" {one_line(error)}"
                ) from error
        found: list[tuple[T, R]] = []
        given = each.given
        if given is not None and given.attempt < ATTEMPTS:
            self._tell(f"a worker on node {each.node} was lost: what it computed is repeated", once=False)
            self._queue.appendleft(_Given(given.task, given.attempt + 1))
        elif given is not None:
            found = [(given.task, self._work.lost(f"its worker was lost, {ATTEMPTS} times ({type(error).__name__})"))]
        self._ask_for_agents()
        self._dispatch()
        return found

    def _check_progress(self) -> None:
        """End the work where the cluster has had no room for any worker for long.

        Raises:
            TrainingError: It is so.
        """
        now = time.monotonic()
        if any(each.ready for each in self._agents) or not self._agents:
            self._ready_at = now
        elif now - self._ready_at > self._config.start_seconds:
            raise TrainingError(
                f"executor ray: no worker was ready after {self._config.start_seconds:g} s, each of which needs"
                f" {self._needs()}; what the cluster has: ray status"
            )

    def _needs(self) -> str:
        resources = {"CPU": self._config.cpus, "GPU": self._gpus, **self._config.resources}
        return ", ".join(f"{amount:g} {name}" for name, amount in resources.items() if amount)

    def _write_token(self) -> Path | None:
        """Write a file by which an agent knows whether it sees the directory of the work."""
        if self._work.directory is None or not self._work.directory.is_dir():
            return None
        if self._token is None:
            self._token = self._work.directory.absolute() / f".nasreg-ray-{uuid.uuid4().hex}"
            self._token.touch()
        return self._token

    def _tell(self, message: str, *, once: bool = True) -> None:
        if message not in self._told or not once:
            self._told.add(message)
            self._work.receive(Notice(message))

    # -- endings -------------------------------------------------------------------------------------------------------

    def interrupt(self) -> list[tuple[T, R]]:
        """Ask the running tasks to save their state and end; return those that have ended with a result."""
        self._queue.clear()
        busy = [each for each in self._agents if each.given is not None]
        answers = {ref: each for ref, each in self._refs.items() if each in busy}  # a task may just have ended
        results = {each.handle.interrupt.remote(): each for each in busy}
        self._refs.clear()
        found: list[tuple[T, R]] = []
        refs = [*answers, *results]
        for ref in ray.wait(refs, num_returns=len(refs), timeout=GRACE_SECONDS + POLL_SECONDS)[0] if refs else []:
            with contextlib.suppress(RayError):  # it was lost: its task is repeated when the work is resumed
                answer = ray.get(ref)
                each = results[ref] if ref in results else answers[ref]
                result = answer if ref in results else answer[1]
                if isinstance(result, bytes) and each.given is not None:
                    found.append((each.given.task, self._opened(result)))
                    each.given = None
        return found

    def close(self) -> None:
        """End all workers, and the cluster if it was started for them."""
        if self._agents and ray.is_initialized():
            with contextlib.suppress(RayError, GetTimeoutError):
                ray.get([each.handle.close.remote() for each in self._agents if each.ready], timeout=CLOSE_SECONDS)
            for each in self._agents:
                with contextlib.suppress(RayError):
                    ray.kill(each.handle)
        self._agents, self._refs = [], {}
        self._queue.clear()
        if self._token is not None:
            self._token.unlink(missing_ok=True)
            self._token = None
        self._disconnect()


def _do_nothing() -> None:
    """Leave the connection to whoever made it."""


def _actor_class() -> Any:
    """Return the class of the agents, which Ray sends by value: the nodes may have another nasreg, or none."""
    ray.cloudpickle.register_pickle_by_value(agent)  # type: ignore[no-untyped-call]
    return ray.remote(max_restarts=0, max_task_retries=0)(agent.Agent)
