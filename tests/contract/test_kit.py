"""The kit for authors finds what is wrong with an algorithm, an evaluator or a space, and nothing else."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import forked
import nasreg
from nasreg.testing.stand_ins import stand_ins

pytestmark = pytest.mark.slow

RUNS = "test_it_runs_on_every_space_that_it_claims"
SEED = "test_the_seed_decides_everything"
INTERRUPTED = "test_interrupted_and_resumed_it_is_the_same_run"
KILLED = "test_killed_anywhere_and_resumed_it_is_the_same_search"
WORKERS = "test_with_several_workers_each_search_is_the_same"
OPTIONS = "test_every_option_has_a_default_and_a_description"
UNKNOWN = "test_an_unknown_option_is_refused"
FROZEN = "test_a_frozen_network_computes_what_the_supernet_computes"
SAVED = "test_a_network_can_be_copied_and_its_state_saved"
LOGITS = "test_its_output_has_a_logit_for_each_class"
RETRAINED = "test_networks_to_retrain_are_built"

FOUND = {
    "broken_algorithms": {
        "honest": set(),
        "unseeded": {SEED, INTERRUPTED},
        "forgetful": {INTERRUPTED},
        "idle": {"test_parameters_change"},
        "partial": {"test_parameters_change"},
        "foreign": {RUNS},
        "narrow": {RUNS},
        "modest": set(),
        "lax": {UNKNOWN},
        "undescribed": {OPTIONS},
        "unstable": {"test_its_spec_and_every_preset_survive_json"},
        "climber": set(),
        "impatient": {KILLED},
        "hasty": {SEED, INTERRUPTED, KILLED, WORKERS},
        "restless": {SEED, INTERRUPTED, KILLED, WORKERS},
        "seedless": {SEED},
        "brittle": {"test_it_copes_with_failed_and_rejected_trials"},
        "latest": {"test_its_result_is_the_best_of_what_it_proposed"},
        "lossy": {KILLED},
        "misspelt": {"test_its_spec_and_every_preset_survive_json"},
    },
    "broken_evaluators": {
        "count": set(),
        "drifting": {"test_the_score_does_not_depend_on_the_trials_before"},
        "noisy": {
            "test_the_score_depends_on_the_proposal_and_the_seed_alone",
            "test_the_score_does_not_depend_on_the_trials_before",
        },
        "reversed": {"test_its_objective_has_a_name_a_unit_and_a_direction"},
        "building": {"test_its_spec_names_what_it_needs"},
        "lacking": {"test_it_scores_every_space_that_it_claims"},
        "confined": set(),
        "lenient": {UNKNOWN},
        "unexplained": {OPTIONS},
        "local": {"test_its_spec_and_its_options_survive_json", "test_worker_processes_give_the_same_scores"},
    },
    "broken_spaces": {
        "net": set(),
        "differing": {FROZEN},
        "training": {FROZEN},
        "asking": {FROZEN, SAVED, LOGITS, RETRAINED},
        "changing": {"test_its_choices_are_the_same_each_time", FROZEN, SAVED, LOGITS, RETRAINED},
        "two_classes": {LOGITS, RETRAINED},
        "unsaved": {SAVED},
        "entry": set(),
        "incapable": {"test_its_capabilities_name_options"},
        "unretrained": {RETRAINED},
        "misnamed": {"test_its_entry_and_its_options_survive_json", FROZEN, SAVED, LOGITS, RETRAINED},
        "bare": {OPTIONS},
    },
}


@pytest.fixture(scope="module")
def failed(tmp_path_factory) -> dict[str, dict[str, dict[str, str]]]:
    """File -> name of what is tested -> test that failed -> why."""
    report = tmp_path_factory.mktemp("kit") / "report.xml"
    words = ["-q", "-n0", "-p", "no:cacheprovider", f"--junitxml={report}"]
    # In the order of FOUND: when broken spaces are registered, the tests of evaluators are collected already.
    files = [str(Path(__file__).with_name(f"{file}.py")) for file in FOUND]
    forked.call(lambda: pytest.main([*words, *files]))
    found: dict[str, dict[str, dict[str, str]]] = {file: {name: {} for name in names} for file, names in FOUND.items()}
    tested = set()
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314  # pytest wrote it just now
        test, _, parameters = case.attrib["name"].rstrip("]").partition("[")
        file = next(file for file in FOUND if file in case.attrib["classname"])
        name = next(name for name in FOUND[file] if name in parameters.split("-"))
        tested.add((file, name))
        for failure in (*case.iter("failure"), *case.iter("error")):
            found[file][name][test] = failure.attrib["message"]
    assert len(tested) == sum(map(len, FOUND.values()))
    return found


@pytest.mark.parametrize(("file", "name"), [(file, name) for file, names in FOUND.items() for name in names])
def test_what_is_broken_is_found(failed, file, name):
    assert set(failed[file][name]) == FOUND[file][name], failed[file][name]


def test_what_is_told(failed):
    algorithms, evaluators, spaces = failed.values()
    assert "weights that every architecture shares are not trained" in algorithms["partial"]["test_parameters_change"]
    assert "'stem.weight'" in algorithms["partial"]["test_parameters_change"]
    assert "trainer.momentum has no description" in algorithms["undescribed"][OPTIONS]
    assert "would propose something else" in algorithms["impatient"][KILLED]
    assert "trial 2 after the other: 1.0 instead of 2.0" in next(iter(evaluators["drifting"].values()))
    assert "let its spec say so" in evaluators["building"]["test_its_spec_names_what_it_needs"]
    assert "define their classes and functions at the top level" in str(evaluators["local"])
    assert "smallest architecture, evaluation: " in spaces["differing"][FROZEN]
    assert "smallest architecture, training: " in spaces["training"][FROZEN]
    assert "with the state of another" in spaces["unsaved"][SAVED]


def test_the_fixture_to_override_is_named(tmp_path):
    fixtures = {"AlgorithmContract": "algorithm", "EvaluatorContract": "evaluator", "SpaceContract": "space"}
    lines = [f"from nasreg.testing import {contract} as Test{contract}" for contract in fixtures]
    (tmp_path / "test_bare.py").write_text("\n".join(lines))
    words = ["-q", "-p", "no:cacheprovider", "test_bare.py"]
    done = forked.call(lambda: pytest.main(words), cwd=tmp_path)
    assert done.code == pytest.ExitCode.TESTS_FAILED
    for fixture in fixtures.values():
        assert f"override the fixture '{fixture}'" in done.out


def test_what_the_kit_registers_is_gone_after_a_test():
    def registered():
        return nasreg.list_algorithms(pattern="testing.*") + nasreg.list_evaluators(pattern="testing.*")

    def fail():
        with stand_ins():
            assert registered() == ["testing.uniform", "testing.distance"]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert registered() == []
