"""What many plugins cost: ``python benchmarks/registry.py``.

Installs 300 plugins of 5 algorithms each and 700 distributions that are no plugins into a folder (as pip leaves them: a
module and a ``.dist-info``), and compares commands and look-ups with the same ones without, interleaved in one run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PLUGIN = """
from nasreg.hookspecs import hookimpl
from nasreg.specs import AlgorithmSpec, MutatorSpec, PluginInfo, Preset, TrainerSpec


@hookimpl
def nasreg_plugin():
    return PluginInfo(api=2)


@hookimpl
def nasreg_algorithms():
    return [
        AlgorithmSpec(
            name=f"many-{number}-{{part}}",
            summary="one of many",
            paper="nobody: nothing",
            family="one-shot",
            primitives=frozenset({{"layer", "input", "cell"}}),
            splits=frozenset({{"arch"}}),
            mutator=MutatorSpec(factory="many_{number}.mutator:Mutator", config="nasreg.specs:Config"),
            trainer=TrainerSpec(
                factory="many_{number}.trainer:Trainer", config="nasreg.trainers.config:OneShotTrainerConfig"
            ),
            presets={{
                "default": Preset(summary="long", spaces={{"darts": {{"cells": 8, "channels": 16}}}}),
                "demo": Preset(summary="short", trainer={{"epochs": 2}}, dataset={{"validation_fraction": 0.2}}),
            }},
            default_preset="default",
            default_space="chain",
        )
        for part in range({algorithms})
    ]
"""

LOOK_UPS = """
import time
import nasreg
began = time.perf_counter()
names = nasreg.list_algorithms()
first = time.perf_counter()
rounds = 200
for _ in range(rounds):
    nasreg.list_algorithms()
listed = time.perf_counter()
wanted = names[len(names) // 2] if names else None
for _ in range(rounds):
    nasreg.get_space("darts")
    if wanted:
        nasreg.get_algorithm(wanted)
got = time.perf_counter()
print(first - began, (listed - first) / rounds, (got - listed) / rounds)
"""

COMMANDS = {
    "nasreg --help": ["-m", "nasreg", "--help"],
    "nasreg list": ["-m", "nasreg", "list"],
    "nasreg list --json": ["-m", "nasreg", "list", "--json"],
    "nasreg describe darts --kind space": ["-m", "nasreg", "describe", "darts", "--kind", "space"],
    "nasreg plugins": ["-m", "nasreg", "plugins"],
}


def install(folder: Path, plugins: int, algorithms: int, others: int) -> None:
    """Leave what pip leaves of so many distributions."""
    for number in range(others):
        info = folder / f"other_{number}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: other-{number}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[console_scripts]\nother-{number} = other_{number}:main\n")
    for number in range(plugins):
        (folder / f"many_{number}.py").write_text(PLUGIN.format(number=number, algorithms=algorithms))
        info = folder / f"nasreg_many_{number}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: nasreg-many-{number}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[nasreg]\nmany-{number} = many_{number}\n")


def run(argv: list[str], path: Path | None) -> tuple[float, str]:
    """Run Python; return the seconds it took and what it printed."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}
    if path:
        env["PYTHONPATH"] = str(path)
    else:
        env["NASREG_PLUGINS"] = ""  # nor those that happen to be installed here
    began = time.perf_counter()
    done = subprocess.run([sys.executable, *argv], env=env, capture_output=True, text=True, check=True)
    return time.perf_counter() - began, done.stdout


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plugins", type=int, default=300)
    parser.add_argument("--algorithms", type=int, default=5, help="of each plugin")
    parser.add_argument("--others", type=int, default=700, help="distributions that are no plugins")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        install(path, options.plugins, options.algorithms, options.others)
        found = len(json.loads(run(["-m", "nasreg", "list", "algorithms", "many-*", "--json"], path)[1])["algorithms"])
        if found != options.plugins * options.algorithms:
            sys.exit(f"only {found} algorithms are found; see what failed with: nasreg plugins")
        print(f"{options.plugins} plugins of {options.algorithms} algorithms, median of {options.rounds}, in ms")
        print(f"{'':36}{'empty':>10}{'full':>10}{'ratio':>8}")
        for title, argv in COMMANDS.items():
            run(argv, path)  # writes the byte code
            pairs = [(run(argv, None)[0], run(argv, path)[0]) for _ in range(options.rounds)]
            show(title, *(statistics.median(side) for side in zip(*pairs, strict=True)))
        times: list[list[list[float]]] = [[], []]
        for _ in range(options.rounds):
            for side, place in zip(times, (None, path), strict=True):
                side.append([float(word) for word in run(["-c", LOOK_UPS], place)[1].split()])
        titles = ("first look-up, with all loading", "list_algorithms()", "get_space(), get_algorithm()")
        for title, empty, full in zip(titles, *(zip(*side, strict=True) for side in times), strict=True):
            show(title, statistics.median(empty), statistics.median(full))


def show(title: str, empty: float, full: float) -> None:
    """Print a row."""
    print(f"{title:36}{1000 * empty:10.3f}{1000 * full:10.3f}{full / empty:8.1f}")


if __name__ == "__main__":
    main()
