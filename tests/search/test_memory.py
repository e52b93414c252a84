"""Whether a process keeps the memory that it frees, during a run and after it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, resource, torch, nasreg
from nasreg.events import StepEnded
from nasreg.testing import toy_images

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def faults_of_allocations():
    for _ in range(10):  # where blocks are aligned, some must be freed before one of their size fits into them
        torch.ones(2**23)  # 32 MiB
    before = faults()
    for _ in range(4):
        torch.ones(2**23)
    return faults() - before

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

found = []
def measure(event):
    if isinstance(event, StepEnded) and event.step == 1:
        found.extend([faults_of_allocations(), resident()])

for limits, keep in (({}, False), ({"MALLOC_TOP_PAD_": "0"}, True), ({}, True)):
    os.environ |= limits
    trainer = {"epochs": 1, "batch_size": 16, "keep_freed_memory": keep}
    options = {"blocks": 1, "channels": 2}
    data = toy_images(32)
    nasreg.search("chain", data, "darts", space_options=options, trainer=trainer, device="cpu", callbacks=[measure])
    for name in limits:
        del os.environ[name]
print(*found[::2], found[-1] - resident())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or not hasattr(os, "confstr"), reason="it is a setting of glibc")
def test_a_run_reuses_the_memory_that_it_frees_unless_told_otherwise():
    if "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""):
        pytest.skip("it is a setting of glibc")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    without, limited, kept, returned = map(int, done.stdout.split())
    assert without > 10_000, "keep_freed_memory=false leaves mallopt alone: each allocation gets new pages"
    assert kept < without / 10
    assert returned > 2**24
    assert limited > without / 2, "a setting of the user takes precedence"
