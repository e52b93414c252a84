"""Start-up of the command line, as ratios to importing what it is built on: ``python benchmarks/startup.py``.

Each command is run in a process of its own, once before anything is measured, so that its byte code is on the disk, and
then all of them in turn: what else the machine does meanwhile slows all alike. The ratio is that of the medians, or of
the shortest times, which say more on a busy machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

BASE = "import typer, pydantic, pluggy"
COMMANDS = {
    BASE: ["-c", BASE],
    "nasreg --help": ["-m", "nasreg", "--help"],
    "nasreg list": ["-m", "nasreg", "list"],
    "nasreg describe darts": ["-m", "nasreg", "describe", "darts"],
    "nasreg plugins": ["-m", "nasreg", "plugins"],
}

# Where byte code is not kept, Python would compile nasreg each time, but not what pip has compiled.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def seconds(argv: list[str]) -> float:
    """Return how long a Python process takes."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *argv], check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    return time.perf_counter() - began


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="times that each command is measured")
    rounds = parser.parse_args().rounds
    for argv in COMMANDS.values():
        seconds(argv)
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, argv in COMMANDS.items():
            taken[name].append(seconds(argv))
    print(f"{f'of {rounds} rounds':32}{'median':>10}{'ratio':>8}{'shortest':>12}{'ratio':>8}")
    base = taken[BASE]
    for name, times in taken.items():
        median, shortest = statistics.median(times), min(times)
        ratios = median / statistics.median(base), shortest / min(base)
        print(f"{name:32}{1000 * median:7.0f} ms{ratios[0]:8.2f}{1000 * shortest:9.0f} ms{ratios[1]:8.2f}")


if __name__ == "__main__":
    main()
