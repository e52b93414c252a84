"""What the contracts of algorithms, evaluators and spaces have in common."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
import torch

from nasreg.registry import default_registry
from nasreg.registry.records import CORE
from nasreg.specs.entries import Component, Kind

T = TypeVar("T")

_LIGHT = """
import json, sys
import nasreg
described = nasreg.describe(sys.argv[1], sys.argv[2])
print(json.dumps([described[sys.argv[2]]["name"], "torch" in sys.modules]))
"""


def check_looking_up_imports_no_torch(kind: Kind, name: str) -> None:
    """Describe an entry in a process of its own, with its plugin alone; skip what belongs to no package."""
    records = default_registry().plugins()
    record = next(record for record in records if name in getattr(record, f"{kind}s"))
    if record.distribution is None:
        pytest.skip("it is registered in this process and belongs to no package")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NASREG")}
    done = subprocess.run(
        [sys.executable, "-c", _LIGHT, name, kind],
        env={**environment, "NASREG_PLUGINS": "" if record.distribution == CORE else record.distribution},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found, imported = json.loads(done.stdout)
    assert found == name
    assert not imported, "the plugin module or a module of a config class imports torch: name factories by string"


def check_options_are_described(part: str, options: Iterable[Mapping[str, Any]]) -> None:
    """Check that every option has a default and a description, which is what ``nasreg describe`` shows."""
    for option in options:
        assert not option["required"], f"{part}.{option['name']} has no default"
        assert option["description"], f"{part}.{option['name']} has no description"


def check_options_survive_json(component: Component, options: Mapping[str, Any], place: str) -> None:
    """Check that options are the same after they were written to a file and read."""
    config = component.load_config()
    parsed = config.model_validate(options)
    assert config.model_validate_json(parsed.model_dump_json()) == parsed, place


def shared_by_class(request: pytest.FixtureRequest, key: pytest.StashKey[dict[str, T]]) -> dict[str, T]:
    """Return what the tests of a class share: what takes long is made by the first that needs it."""
    node = request.node.getparent(pytest.Class) or request.node
    shared: dict[str, T] = node.stash.setdefault(key, {})
    return shared


@contextmanager
def global_random_state(number: int) -> Iterator[None]:
    """Give Python's and torch's global generators a certain state for the time of a block.

    What is to depend on the seed of a run alone must not depend on it.
    """
    before = random.getstate()
    with torch.random.fork_rng():
        random.seed(number)
        torch.manual_seed(number)
        try:
            yield
        finally:
            random.setstate(before)
