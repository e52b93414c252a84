"""Start-up of the command line, as ratios to importing what it is built on: ``python benchmarks/startup.py``.

Each command is run in a process of its own, all of them in turn, and the median of each is taken: what else the machine
does meanwhile slows all alike.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 15
BASE = "python -c 'import typer, pydantic, pluggy'"
COMMANDS = {
    BASE: ["-c", "import typer, pydantic, pluggy"],
    "nasreg --help": ["-m", "nasreg", "--help"],
    "nasreg list": ["-m", "nasreg", "list"],
    "nasreg describe darts": ["-m", "nasreg", "describe", "darts"],
    "nasreg plugins": ["-m", "nasreg", "plugins"],
}


def seconds(words: list[str]) -> float:
    """Return how long a Python process takes."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Print the medians and their ratios."""
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, words in COMMANDS.items():
            taken[name].append(seconds(words))
    base = statistics.median(taken[BASE])
    for name, times in taken.items():
        median = statistics.median(times)
        print(f"{name:<45} {1000 * median:6.0f} ms  {median / base:5.2f}")


if __name__ == "__main__":
    main()
