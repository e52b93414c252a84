"""Keys are those of the authors' package, and architectures are read and written as its users do."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from nas_bench_graph.architecture import Arch, gnn_list

import nasreg
from nasreg.cli import main
from nasreg.errors import ArchitectureError
from nasreg_nasbenchgraph.architectures import EXAMPLE, decision_key
from nasreg_nasbenchgraph.config import DATASETS, OPERATIONS
from nasreg_nasbenchgraph.table import architecture_counts

SOURCES = tuple(itertools.product(*(range(node + 1) for node in range(4))))
PLAIN = tuple(name for name in OPERATIONS if name != "skip")


def check_keys(architectures):
    for sources, names in architectures:
        decision = tuple(((name, source),) for source, name in zip(sources, names, strict=True))
        assert int(decision_key(decision)) == Arch(list(sources), list(names)).valid_hash(), (sources, names)


def test_keys_are_the_hashes_of_the_package():
    """Of every pattern of sources, with every place of skips."""
    assert tuple(gnn_list) == OPERATIONS
    rng = random.Random(0)
    check_keys(
        (sources, ["skip" if skip else rng.choice(PLAIN) for skip in skips])
        for sources, skips, _ in itertools.product(SOURCES, itertools.product((False, True), repeat=4), range(8))
    )


@pytest.mark.slow
def test_keys_are_the_hashes_of_the_package_for_all_architectures():
    check_keys(itertools.product(SOURCES, itertools.product(OPERATIONS, repeat=4)))


@pytest.mark.parametrize("operations", [OPERATIONS[-3:], DATASETS["proteins"].operations, OPERATIONS[:2]])
def test_how_many_architectures_have_each_key(operations):
    """Also of a space without skip."""
    counts = np.zeros(100_000)
    for sources, names in itertools.product(SOURCES, itertools.product(operations, repeat=4)):
        decision = tuple(((name, source),) for source, name in zip(sources, names, strict=True))
        counts[int(decision_key(decision))] += 1
    assert (architecture_counts(operations) == counts).all()


def test_the_space_has_26206_different_architectures_beside_those_of_skip_alone():
    counts = architecture_counts(OPERATIONS)
    assert (np.count_nonzero(counts), counts[88888]) == (26_207, 24)
    assert counts.sum() == nasreg.find_architecture(EXAMPLE).space.describe(None, {}).size() == 24 * 9**4


def test_an_architecture_is_shown_as_it_is_written(capsys, tmp_path):
    assert main(["show", 'Arch( [0,1,2 , 1],["gcn", "gin",  "fc","cheb"] )']) == 0
    assert EXAMPLE in capsys.readouterr().out
    (tmp_path / "found.txt").write_text(EXAMPLE)
    assert main(["show", str(tmp_path / "found.txt")]) == 0
    assert EXAMPLE in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Arch(", r"is not Arch\(\[SOURCES\], \[OPERATIONS\]\)"),
        ("Arch([0, 1, 2, 1], 'gcn')", r"is not Arch\(\[SOURCES\]"),
        ("Arch([0, 1, 2], ['gcn', 'gin', 'fc', 'cheb'])", "it has 3 sources instead of 4"),
        ("Arch([0, 1, 2, 1], ['gcn', 'gin', 'fc', 'cheb', 'fc'])", "it has 5 operations instead of 4"),
        ("Arch([0, 1, 3, 1], ['gcn', 'gin', 'fc', 'cheb'])", "the source of node 3, '3', is not a number from 0 to 2"),
        ("Arch([0, 1, -1, 1], ['gcn', 'gin', 'fc', 'cheb'])", "the source of node 3, '-1', is not a number"),
        (
            "Arch([0, 1, 2, 1], ['gcn', 'gin', 'fc', cheb])",
            "the operation of node 4, 'cheb', is not in quotation marks",
        ),
        ("Arch([0, 1, 2, 1], ['gcn', 'gim', 'fc', 'cheb'])", r"node 2 has the unknown operation 'gim'\. Did you mean"),
    ],
)
def test_a_malformed_text_is_one_line(text, says, capsys):
    with pytest.raises(ArchitectureError, match=says) as caught:
        nasreg.find_architecture(text)
    assert "\n" not in str(caught.value)
    assert "expected a text such as Arch([0, 1, 2, 1]" in str(caught.value)
    assert main(["show", text]) == 2
    assert capsys.readouterr().err.count("\n") == 1
