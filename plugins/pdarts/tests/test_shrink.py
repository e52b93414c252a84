"""Candidates dropped and cells derived, against figures of the authors' program (see golden/README.md)."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nasreg.specs import NONE, SKIP, CellSpec, SearchSpaceSpec
from nasreg_pdarts.config import PdartsMutatorConfig
from nasreg_pdarts.mutator import PdartsMutator
from nasreg_pdarts.shrink import derive_cell, restrict_skips
from nasreg_pdarts.trainer import dropout_rate

GOLDEN = json.loads((Path(__file__).parent / "golden/pdarts_shrink.json").read_text())
CASES = range(len(GOLDEN["cases"]))


def mutator(stage: dict) -> PdartsMutator:
    """A mutator of a stage with the golden alphas."""
    cells = tuple(
        CellSpec(
            key=key,
            inputs=2,
            nodes=4,
            candidates=tuple(map(tuple, stage[f"candidates_{key}"])),
            concat=(2, 3, 4, 5),
            reduction=key == "reduce",
        )
        for key in ("normal", "reduce")
    )
    made = PdartsMutator(SearchSpaceSpec(choices=cells), PdartsMutatorConfig()).double()
    for key in ("normal", "reduce"):
        made.alpha(key).data = torch.tensor(stage[f"alpha_{key}"], dtype=torch.float64)
    return made


def edges(decision) -> list[list]:
    return [list(edge) for node in decision for edge in node]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stage", [0, 1])
def test_candidates_kept_after_a_stage(case, stage):
    golden = GOLDEN["cases"][case]["stages"][stage]
    left = mutator(golden).strongest((5, 3)[stage])
    for key in ("normal", "reduce"):
        assert [list(names) for names in left[key]] == golden[f"kept_{key}"]


@pytest.mark.parametrize("case", CASES)
def test_genotypes_for_every_limit_on_skips(case):
    golden = GOLDEN["cases"][case]
    last = mutator(golden["stages"][2])
    unrestricted = last.restricted(None).decisions
    assert {key: edges(unrestricted[key]) for key in unrestricted} == golden["genotype_unrestricted"]
    assert set(golden["genotype_by_max_skips"]) == {str(limit) for limit in range(9)}
    for limit, expected in golden["genotype_by_max_skips"].items():
        decisions = last.restricted(int(limit)).decisions
        assert {key: edges(decisions[key]) for key in decisions} == expected, limit
    assert last.architecture() == last.restricted(2)


@given(st.integers(0, 10**6), st.integers(0, 9))
def test_restricted_cells_are_cells_with_few_skips(seed, max_skips):
    rng = random.Random(seed)
    operations = [NONE, SKIP, "max_pool_3x3", "sep_conv_3x3"]
    candidates = []
    while len(candidates) < 14:
        names = tuple(name for name in operations if rng.random() < 0.7)
        if set(names) - {NONE}:
            candidates.append(names)
    cell = CellSpec(key="normal", inputs=2, nodes=4, candidates=tuple(candidates), concat=(2, 3, 4, 5))
    weights = [[rng.random() for _ in names] for names in candidates]
    decision = restrict_skips(cell, weights, max_skips)
    assert cell.problem(decision) is None
    names = [name for node in decision for name, _ in node]
    forced = sum(set(cell.candidates[edge]) <= {NONE, SKIP} for edge in range(14))
    assert names.count(SKIP) <= max_skips + forced
    if max_skips >= 8:
        assert decision == derive_cell(cell, weights)


def test_dropout_schedule():
    """The program: p0 * (25 - e - 1) / 25 while only weights train, then p0 * exp(-0.2 * (e - 10))."""
    rates = [dropout_rate(0.4, epoch, 25, 10, 0.2) for epoch in range(25)]
    assert rates[0] == pytest.approx(0.4 * 24 / 25)
    assert rates[9] == pytest.approx(0.4 * 15 / 25)
    assert rates[10] == pytest.approx(0.4)
    assert rates[24] == pytest.approx(0.4 * math.exp(-2.8))
