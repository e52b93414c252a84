"""The environment that a run records, and what a resumed run says where it differs. Imports torch."""

from __future__ import annotations

import os
import platform
import sys
import time
from types import ModuleType
from typing import Any

import torch

from nasreg.config.request import ResolvedRun
from nasreg.registry import Registry
from nasreg.specs.formatting import plural
from nasreg.specs.version import __version__
from nasreg.trainers.distributed import present


def environment_of(run: ResolvedRun, registry: Registry) -> dict[str, Any]:
    """Return the environment of a run: versions, machine, threads, command, the user's own code."""
    plugins = {record.distribution: record.version for record in registry.plugins() if record.distribution}
    return {
        "versions": {
            "python": platform.python_version(),
            "nasreg": __version__,
            **{module.__name__: str(module.__version__) for module in _libraries()},  # not all have metadata
            **plugins,
        },
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cpus": os.cpu_count()},
        "threads": torch.get_num_threads(),
        "processes": present().world_size,
        "command": sys.argv,
        "import_path": run.space.import_path,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def environment_notices(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return a notice for what a resumed run depends on and that is no longer the same."""
    changed = []
    old, new = before.get("versions", {}), now["versions"]
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            changed.append(f"{name} {new.get(name, 'missing')} (was {old.get(name, 'missing')})")
    changed += [f"another {name}" for name in ("machine", "threads") if before.get(name) != now[name]]
    processes = before.get("processes", 1)
    changed += (
        [f"{plural(now['processes'], 'process', 'processes')} (was {processes})"]
        if processes != now["processes"]
        else []
    )
    return [f"resumed with {', '.join(changed)}: the result may differ by rounding"] if changed else []


def _libraries() -> list[ModuleType]:
    """Return torch, and torchvision where the run uses it: it takes longer to import than many a search of a table."""
    return [torch, *([sys.modules["torchvision"]] if "torchvision" in sys.modules else [])]
