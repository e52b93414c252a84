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


def test_data_compares_each_loader_with_the_step():
    out = run("data.py", "--images", "120", "--batch", "4", "--workers", "1", "--rounds", "1")
    about, steps, loaders, slower = out.strip().split("\n\n")
    assert about.startswith("first order of DARTS, 3 cells of 4 channels, batches of 4, on cpu")
    rates = {}
    for line in steps.splitlines()[1:]:
        shape, milliseconds, rate = line.split()
        rates[shape] = float(rate.replace(",", ""))
        assert float(milliseconds) > 0
    assert set(rates) == {"3x32x32", "1x8x8"}
    found = [re.split(r" {2,}", line) for line in loaders.splitlines()[1:]]
    ways = ["Dataset, 0 workers", "Dataset, 1 workers", "digits", "folder, held in memory"]
    ways += ["folder, streamed, 0 workers", "folder, streamed, 1 workers"]
    assert [row[:2] for row in found] == [[way, augmented] for way in ways for augmented in ("no", "yes")]
    assert all(rate > 0 for rate in rates.values())
    assert all(float(number.replace(",", "")) > 0 for row in found for number in row[2:]), found
    assert slower.startswith("slower than the step: ")
