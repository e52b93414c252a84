"""The connection to a Ray cluster, or one that is started on this machine, and the versions on its nodes."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import math
import os
import platform
import re
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence

import ray

from nasreg.errors import ConfigError, UsageError, one_line
from nasreg_ray.config import RayConfig

OBJECT_STORE_BYTES = 100 * 2**20
"""Memory of a cluster that is started here for what is sent, which is small."""

CONNECT_SECONDS = 10.0
"""Time in which a cluster has to answer."""

LOCAL = "local"
AUTO = "auto"


def connect(config: RayConfig, workers: int) -> bool:
    """Connect this process to the cluster, unless it is connected.

    Args:
        config: The address, and what each worker takes.
        workers: Number of workers.

    Returns:
        Whether the connection is ours, and has to be closed.

    Raises:
        ConfigError: There is no such cluster, or a cluster on this machine cannot have such workers.
        UsageError: It has other versions of Python or Ray.
    """
    address = config.address or os.environ.get("RAY_ADDRESS")
    if address is not None and address not in (LOCAL, AUTO):
        _check_reachable(address)
    if ray.is_initialized():
        return False
    # Nothing is reported to anybody, and CUDA_VISIBLE_DEVICES stays as it is for workers without a GPU.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with _signals_kept():
        if config.address != LOCAL:
            try:
                ray.init(address=config.address or AUTO, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, ValueError, OSError) as error:
                if address is not None:
                    raise _no_cluster(address, error) from error
            except RuntimeError as error:
                raise UsageError(f"executor ray: the cluster cannot be used: {one_line(error)}") from error
            else:
                return True
        _start(config, workers)
    return True


def _check_reachable(address: str) -> None:
    """Check that something answers at an address: Ray itself tries for minutes.

    Raises:
        ConfigError: It is no address of a cluster, or nothing answers there.
    """
    found = re.fullmatch(r"(?:ray://)?([^/:]+):(\d+)", address)
    if found is None:
        raise ConfigError(
            f"executor.address: {address!r} is no address of a Ray cluster: expected HOST:PORT, ray://HOST:PORT, auto"
            " or local"
        )
    try:
        socket.create_connection((found[1], int(found[2])), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> ConfigError:
    return ConfigError(f"executor.address: there is no Ray cluster at {address} ({one_line(error)})")


def _start(config: RayConfig, workers: int) -> None:
    """Start a cluster of this machine, with a core for each worker even if there are fewer."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ray.init(
        address=LOCAL,
        num_cpus=max(cores, math.ceil(workers * config.cpus)),
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    resources: Mapping[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    wanted = {"GPU": config.gpus or 0, **config.resources}
    for name, amount in wanted.items():
        if amount > resources.get(name, 0):
            ray.shutdown()
            option = "executor.gpus" if name == "GPU" else f"executor.resources.{name}"
            raise ConfigError(f"{option}: this machine has {resources.get(name, 0):g}, fewer than {amount:g}")


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep the handlers of signals, which Ray replaces: SIGTERM ends a search in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def versions_here(distributions: Sequence[str]) -> dict[str, str | None]:
    """Return the versions of Python and of the packages that the workers need, as far as they are installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def check_versions(here: Mapping[str, str | None], node: str, there: Mapping[str, str | None]) -> None:
    """Compare the versions of a worker with those of this process.

    Args:
        here: Those of this process.
        node: Name of the node.
        there: Those of the worker.

    Raises:
        UsageError: They differ, other than in the build of a package or in the patch release of Python.
    """
    differing = [
        f"{name} {there.get(name) or 'is missing'} (here {version})"
        for name, version in here.items()
        if _comparable(name, version) != _comparable(name, there.get(name))
    ]
    if differing:
        raise UsageError(
            f"executor ray: node {node} has other versions than this process: {', '.join(differing)}; install the"
            " same on all nodes"
        )


def _comparable(name: str, version: str | None) -> str | None:
    """Return the part of a version that has to be the same; torch has builds for each version of CUDA."""
    if version is None:
        return None
    return ".".join(version.split(".")[:2]) if name == "python" else version.partition("+")[0]
