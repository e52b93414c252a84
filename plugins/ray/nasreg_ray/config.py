"""The options of the executor. Imports neither torch nor Ray."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from nasreg.specs import Config


class RayConfig(Config):
    """The cluster, and what each worker takes of it."""

    address: str | None = Field(
        default=None,
        min_length=1,
        description="address of the cluster, such as 10.0.0.1:6379 or ray://10.0.0.1:10001; local starts one on this"
        " machine; by default that of RAY_ADDRESS, else the one that runs on this machine, else local",
    )
    cpus: float = Field(
        default=1, gt=0, description="CPU cores of each worker; torch uses as many threads in it, at least one"
    )
    gpus: float | None = Field(
        default=None,
        ge=0,
        description="GPUs of each worker, of which one may have a share such as 0.5; by default one if the search is on"
        " cuda; with some the trials are on cuda, whatever the device of this process",
    )
    resources: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict, description="other resources of each worker, by their names in the cluster"
    )
    start_seconds: float = Field(
        default=300, gt=0, description="time after which the search ends if no worker has been ready for so long"
    )
