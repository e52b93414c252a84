"""One pass over every candidate of a search space before the first step: what would fail later, named beforehand.

The supernet computes two images of noise in training mode, forwards and backwards, several times: each candidate is
computed with the input that it gets in the model, and its output is compared with that of the others; then each value
and each depth is decided once. The last pass is one in evaluation mode. Imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from nasreg.config.sources import SpaceSource
from nasreg.errors import SpaceError, one_line
from nasreg.networks.dry_run_passes import DryRun, Finding
from nasreg.nn.copying import copy_module
from nasreg.specs import DataInfo
from nasreg.tasks.base import Task


def check_supernet(
    source: SpaceSource,
    options: Mapping[str, Any],
    info: DataInfo,
    task: Task,
    device: torch.device | None = None,
    *,
    weighted: bool = True,
) -> list[str]:
    """Check the model of a search space before anything is trained; takes what ``supernet_findings`` does.

    Returns:
        Notices. Where candidates are not weighted, one that fails lets no others fail: its trials are failed ones.

    Raises:
        SpaceError: There is a finding; the message counts any others.
    """
    found = list(supernet_findings(source, options, info, task, device, weighted=weighted))
    _raise_first([each for each in found if weighted or not each.one_decision])
    return [f"trials with it will fail: {each.text}" for each in found]


def check_network(network: nn.Module, info: DataInfo, task: Task, device: torch.device | None = None) -> int:
    """Check a network without choices before it is trained.

    Args:
        network: The network; its weights stay the same, its statistics may change.
        info: Shape of the images and the classes.
        task: The task, whose predictions the network returns.
        device: The device to compute on; the CPU where None.

    Returns:
        The number of its auxiliary outputs in training mode.

    Raises:
        SpaceError: It cannot compute such images, or its output does not fit the task.
    """
    checked = DryRun(network, info, task, device or torch.device("cpu"))
    _raise_first(list(checked.findings_of_network()))
    return checked.auxiliary


def supernet_findings(
    source: SpaceSource,
    options: Mapping[str, Any],
    info: DataInfo,
    task: Task,
    device: torch.device | None = None,
    *,
    weighted: bool = True,
) -> Iterator[Finding]:
    """Yield everything that would make a search of this space fail or its result mean something else.

    Args:
        source: The search space.
        options: Its options.
        info: Shape of the images and the classes.
        task: The task, whose predictions the model returns.
        device: The device to compute on; the CPU where None.
        weighted: Whether the algorithm computes weighted sums of candidates, as one-shot algorithms may.

    Raises:
        NasregError: As ``SpaceSource.build``, or the space has no choice.
    """
    device = device or torch.device("cpu")
    devices = [device] if device.type != "cpu" else []
    with torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"):
        torch.manual_seed(0)
        model = source.build(info, options)
        try:
            copied = copy_module(model)
        except Exception as error:  # noqa: BLE001  # any object of the user may be in the model
            name = type(model).__name__
            yield Finding(
                f"the model {name} cannot be copied, which freezing it needs: {one_line(error)}. Keep what cannot be"
                " copied, such as locks, files and connections, outside of the model",
                one_decision=False,
            )
            return
        if not source.builds_anew:
            model = copied
        del copied
        yield from DryRun(model, info, task, device).findings_of_supernet(weighted=weighted)


def _raise_first(found: Sequence[Finding]) -> None:
    if found:
        rest = f" (and {len(found) - 1} more of this kind)" if len(found) > 1 else ""
        raise SpaceError(found[0].text + rest)
