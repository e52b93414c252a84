"""The kit for authors finds what is wrong with an algorithm, and nothing else."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import forked

pytestmark = pytest.mark.slow

REPEATED = {"test_the_seed_decides_everything", "test_interrupted_and_resumed_it_is_the_same_run"}
FOUND = {
    "honest": set(),
    "unseeded": REPEATED,
    "forgetful": {"test_interrupted_and_resumed_it_is_the_same_run"},
    "idle": {"test_parameters_change"},
    "partial": {"test_parameters_change"},
    "foreign": {"test_it_runs_on_every_space_that_it_claims"},
    "narrow": {"test_it_runs_on_every_space_that_it_claims"},
    "modest": set(),
    "lax": {"test_an_unknown_option_is_refused"},
    "undescribed": {"test_every_option_has_a_default_and_a_description"},
    "unstable": {"test_its_spec_and_every_preset_survive_json"},
}
REPEATED_SEARCHES = (
    "(lax or undescribed or unstable) and (seed or interrupted or parameters or space)"
    " or (narrow or modest) and (seed or interrupted or parameters)"
)
"""Tests of searches of algorithms that train as the honest one does, and differ in their options or spaces alone."""


@pytest.fixture(scope="module")
def failed(tmp_path_factory) -> dict[str, dict[str, str]]:
    """Name of the algorithm -> test that failed -> why."""
    report = tmp_path_factory.mktemp("kit") / "report.xml"
    words = ["-q", "-n0", "-p", "no:cacheprovider", "-k", f"not ({REPEATED_SEARCHES})", f"--junitxml={report}"]
    file = Path(__file__).with_name("broken_algorithms.py")
    forked.call(lambda: pytest.main([*words, str(file)]))
    found: dict[str, dict[str, str]] = {}
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314  # pytest wrote it just now
        test, _, parameters = case.attrib["name"].rstrip("]").partition("[")
        name = next(name for name in FOUND if name in parameters.split("-"))
        found.setdefault(name, {})
        for failure in (*case.iter("failure"), *case.iter("error")):
            found[name][test] = failure.attrib["message"]
    return found


@pytest.mark.parametrize("name", FOUND)
def test_what_is_broken_is_found(failed, name):
    assert set(failed[name]) == FOUND[name], failed[name]


def test_what_is_told(failed):
    assert "weights that every architecture shares are not trained" in failed["partial"]["test_parameters_change"]
    assert "'stem.weight'" in failed["partial"]["test_parameters_change"]
    assert "trainer.momentum has no description" in next(iter(failed["undescribed"].values()))


def test_the_fixture_to_override_is_named(tmp_path):
    (tmp_path / "test_bare.py").write_text("from nasreg.testing import AlgorithmContract as TestBare")
    words = ["-q", "-p", "no:cacheprovider", "test_bare.py"]
    done = forked.call(lambda: pytest.main(words), cwd=tmp_path)
    assert done.code == pytest.ExitCode.TESTS_FAILED
    assert "override the fixture 'algorithm'" in done.out
