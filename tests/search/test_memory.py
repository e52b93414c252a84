"""What a process keeps of the memory that it frees."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import resource, torch
from nasreg.device import keeping_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def again():
    for _ in range(10):  # where pieces are aligned, some must be freed before one of their size fits into them
        torch.ones(2**24)  # 64 MiB
    before = faults()
    for _ in range(4):
        torch.ones(2**24)
    return faults() - before

def kept():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

outside = again()
with keeping_freed_memory(torch.device("cpu")):
    inside = again()
    held = kept()
print(outside, inside, held - kept())
"""


def measured(environment: dict[str, str]) -> list[int]:
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [int(number) for number in done.stdout.split()]


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(os, "confstr"), reason="it is a setting of glibc")
def test_what_a_run_frees_it_uses_again_and_gives_back_in_the_end():
    if "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""):
        pytest.skip("it is a setting of glibc")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    outside, inside, given_back = measured(environment)
    assert inside < outside / 10
    assert given_back > 2**25
    outside, inside, _ = measured({**environment, "MALLOC_TOP_PAD_": "0"})
    assert inside > outside / 2, "a setting of the user's is left alone"
