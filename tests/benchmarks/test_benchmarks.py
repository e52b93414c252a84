"""The benchmarks run and print whole tables. What they measure is for people: no timing is asserted."""

import re
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(name: str, *words: str) -> str:
    done = subprocess.run([sys.executable, BENCHMARKS / name, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def numbers(line: str) -> list[float]:
    return [float(word) for word in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", line.replace(",", ""))]


def test_startup_compares_each_command_with_the_imports():
    heading, base, *rows = run("startup.py", "--rounds", "1").splitlines()
    assert heading.split() == ["of", "1", "rounds", "median", "ratio", "shortest", "ratio"]
    assert base.startswith("import typer, pydantic, pluggy ")
    assert [re.split(r" {2,}", row)[0] for row in rows] == [
        "nasreg --help",
        "nasreg list",
        "nasreg describe darts",
        "nasreg plugins",
    ]
    assert numbers(base)[1::2] == [1.0, 1.0]
    for row in rows:
        median, ratio, shortest, least = numbers(row)
        assert median == shortest > 0, row  # of one round
        assert ratio == least > 0, row
