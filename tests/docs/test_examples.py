"""The examples run, and are as short as they are said to be."""

from __future__ import annotations

from pathlib import Path

import pytest

import forked

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example_runs(example, tmp_path):
    assert forked.check(forked.script(example, cwd=tmp_path)).out


def test_own_model_and_data_take_less_than_20_lines():
    lines = next(path for path in EXAMPLES if path.name == "own_model.py").read_text().splitlines()
    code = [line for line in lines if line.strip() and not line.startswith(("import ", "from ", '"""', "print("))]
    assert len(code) < 20
