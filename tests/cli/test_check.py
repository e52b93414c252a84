"""``nasreg check`` and ``nasreg.check``: all that is wrong is listed at once, and nothing is run or kept."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

import nasreg
from evaluators import DESCENT, SCRIPTED
from faulty import Asking, Failing, FaultyCell, FaultyImages, FiveFaults, Right, Unsaved
from nasreg.cli import main
from nasreg.cli.output import Output
from nasreg.data import from_torch
from nasreg.engine.checks import network
from nasreg.engine.checks.findings import CheckReport
from nasreg.errors import UsageError
from nasreg.testing import toy_images
from tiny_runs import SEARCH, working_in
from words import check_refused

RIGHT = f"{Path(__file__).parents[1] / 'support/faulty.py'}:Right"
SHORT = {"epochs": 2, "batch_size": 16}


@pytest.fixture(autouse=True)
def no_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exporting to ONNX takes longer than all the rest; there is a test of its own."""
    monkeypatch.setattr(network, "ONNX_PACKAGES", ("not_installed",))


def check(space, data=None, algorithm="darts", **more) -> CheckReport:
    return nasreg.check(
        space, data or (toy_images(), toy_images(16)), algorithm, **{"trainer": SHORT, "device": "cpu", **more}
    )


def check_random(space, **more) -> CheckReport:
    options = {"trainer": {"max_trials": 3}, "evaluator_options": SHORT}
    return check(space, algorithm="random", **{**options, **more})


def texts(report: CheckReport, *levels: str) -> list[str]:
    """Return place and message of the findings of some levels, or of all."""
    return [f"{each.place}: {each.message}" for each in report.findings if not levels or each.level in levels]


def holds(found: list[str], *parts: str) -> bool:
    return any(all(part in text for part in parts) for text in found)


# -- what is right -------------------------------------------------------------------------------------------------


def test_a_search_in_which_nothing_is_wrong_is_described():
    report = check(Right)
    assert (report.ok, report.findings) == (True, ())
    assert {each.name: each.samples for each in report.data.images} == {"train": 96, "test": 16}
    assert report.data.images[0].classes == {"0": 48, "1": 48}
    assert report.data.splits == {"train": 48, "arch": 48}
    assert [(each.candidate, each.shape, each.parameters, each.macs) for each in report.space.candidates] == [
        ("0", (4, 8, 8), 8, 256),
        ("1", (4, 8, 8), 40, 2304),
        ("2", (4, 8, 8), 104, 6400),
    ]
    assert [(each.which, each.parameters, each.macs) for each in report.space.architectures] == [
        ("smallest", 26, 264),
        ("largest", 122, 6408),
    ]
    assert report.network.model_dump() == {
        "output": (2, 2),
        "freezes": True,
        "copies": True,
        "saves": True,
        "exports": {"pt2": True},
    }
    assert report.search.plan == "2 epochs of 3 steps"
    assert report.search.seconds > report.search.step.seconds > 0
    assert report.search.step.peak_bytes > 0


def test_an_object_keeps_its_weights_and_generators_their_state():
    model = Right()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert check(model).ok
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


_shared = Right()


def shared() -> Right:
    """Return one and the same model."""
    return _shared


def test_what_a_function_returns_again_and_again_is_not_trained():
    before = {name: value.clone() for name, value in _shared.state_dict().items()}
    assert check(shared).ok
    assert all(torch.equal(value, before[name]) for name, value in _shared.state_dict().items())


@pytest.mark.slow
def test_every_stage_of_a_search_is_measured():
    """The epochs without batches of the arch split, and those of the deeper supernets."""
    report = nasreg.check(
        None,
        toy_images(),
        "pdarts",
        space_options={
            "cells": 3,
            "channels": 2,
            "nodes": 1,
            "candidates": ["none", "skip_connect", "max_pool_3x3", "avg_pool_3x3"],
        },
        trainer={"epochs": 2, "warmup_epochs": 1, "batch_size": 16, "added_cells": [0, 1, 2], "kept": [3, 2]},
        device="cpu",
    )
    assert report.ok, texts(report)
    assert report.search.plan == "6 epochs of 3 steps"
    assert report.search.seconds > 0


# -- what is wrong -------------------------------------------------------------------------------------------------


def test_five_faults_of_a_model_and_five_of_its_data_are_all_listed():
    report = check(FiveFaults, FaultyImages())
    errors = texts(report, "error")
    for name, reason in (
        ("in-place", "alters its input in place"),
        ("channels", "expected input"),
        ("features", "cannot be multiplied"),
        ("pooled", "(2, 4, 1, 1)"),
    ):
        assert holds(errors, "'conv'", f"{name!r}", reason), (name, errors)
    assert holds(errors, "(2, 2)", "3 classes")
    assert holds(errors, "image 7 cannot be used", "truncated", "1 other image (40)")
    warnings = texts(report, "warning")
    assert holds(warnings, "values from", "normalise them")
    assert holds(warnings, "no image of the train set has label 1")
    assert holds(warnings, "class '0'", "class '2'", "accuracy")
    assert holds(warnings, "test set", "retraining")
    assert (report.count("error"), report.count("warning")) == (6, 4), texts(report)
    assert holds(texts(report, "info"), "not measured")
    assert report.data.images[0].unusable == 2
    assert [each.level for each in report.findings] == sorted(
        (each.level for each in report.findings), key=["error", "warning", "info"].index
    )


def test_candidates_that_fail_are_warnings_where_each_architecture_is_trained_by_itself():
    report = check_random(Failing, trainer={"max_trials": 3, "max_parameters": 100})
    assert holds(texts(report, "info"), "trainer.max_parameters", "not compared")
    for name in ("channels", "features"):
        assert holds(texts(report, "warning"), "'conv'", f"{name!r}"), texts(report)
    assert report.ok, texts(report, "error")
    assert report.search.seconds > 0


def test_every_candidate_of_a_cell_that_fails_is_listed():
    errors = texts(check(FaultyCell), "error")
    assert holds(errors, "choice 'cell', candidate 'channels' on the edge from state 0 to node 0", "expected input")
    assert holds(errors, "choice 'cell', candidate 'features' on the edge from state 0 to node 0", "multiplied")
    assert len(errors) == 2, errors


@pytest.mark.parametrize(
    ("algorithm", "level"), [(check, "error"), (check_random, "warning")], ids=["one-shot", "multi-trial"]
)
def test_a_frozen_network_that_computes_something_else_is_found(algorithm, level):
    report = algorithm(Asking)
    assert report.network.freezes is False
    assert holds(texts(report, level), "smallest architecture", "computes something else than the supernet")


def test_a_state_that_no_checkpoint_can_hold_is_found():
    report = check(Unsaved)
    assert holds(texts(report, "error"), "_extra_state", "cannot hold")
    assert holds(texts(report, "warning"), "_extra_state", "retraining")
    assert report.network.saves is False


def broken(info) -> Right:
    """Raise an error."""
    raise ValueError(f"no model for {info.n_classes} classes")


def test_a_model_that_cannot_be_built_hides_nothing_about_the_data():
    report = check(broken, FaultyImages())
    assert holds(texts(report, "error"), "no model for 3 classes")
    assert holds(texts(report, "error"), "image 7 cannot be used")
    assert report.data is not None
    assert report.space is None


def test_data_that_cannot_be_loaded_hide_nothing_about_the_model(tmp_path, capsys):
    space = f"{Path(__file__).parents[1] / 'support/faulty.py'}:FiveFaults"
    assert main(["check", "darts", "--space", space, "--dataset", f"folder:{tmp_path}/none", "--json"]) == 2
    report = CheckReport.model_validate_json(capsys.readouterr().out)
    assert holds(texts(report, "error"), "there is no folder")
    assert holds(texts(report, "info"), "checked with images of 3x32x32")
    assert report.count("error") > 1


def test_labels_that_are_no_classes_are_found():
    x = torch.randint(256, (40, 1, 8, 8), dtype=torch.uint8)
    labels = torch.arange(40) % 2
    outside = check(Right, from_torch(TensorDataset(x, torch.where(labels == 1, 5, 0)), classes=["a", "b"]))
    assert holds(texts(outside, "error"), "label (5)", "20 images", "must be 0 to 1")
    identifier = check(Right, TensorDataset(x, torch.where(labels == 1, 2_000_000_000, 0)))
    assert holds(texts(identifier, "error"), "2,000,000,000", "2 different labels")
    assert identifier.space is not None


def test_unreadable_images_that_are_left_out_are_a_warning():
    report = check(Right, FaultyImages(), dataset_options={"unreadable": "skip"})
    assert holds(texts(report, "warning"), "image 7 cannot be used", "left out")
    assert not holds(texts(report, "error"), "image 7")


def test_images_of_several_shapes_are_counted():
    data = [(torch.zeros(1, 8, 8, dtype=torch.uint8) + index, index % 2) for index in range(40)]
    data[3] = (torch.zeros(1, 9, 9, dtype=torch.uint8), 1)
    errors = texts(check(Right, data), "error")
    assert holds(errors, "1 image (3) of 9x9", "most images of 8x8", "dataset.image_size")


# -- budgets and estimates -----------------------------------------------------------------------------------------


def test_a_budget_is_compared_with_random_architectures():
    met = check_random(Right, trainer={"max_trials": 3, "max_parameters": 100})
    (budget,) = met.space.budgets
    assert (budget.option, budget.limit, budget.reachable) == ("trainer.max_parameters", 100, True)
    assert 0.3 < budget.share < 0.95  # two of three
    percent = check_random(Right, trainer={"max_trials": 3, "max_macs": "50%"})
    assert percent.space.budgets[0].limit == pytest.approx(3204)
    unmet = check_random(Right, trainer={"max_trials": 3, "max_parameters": 10})
    assert holds(texts(unmet, "error"), "trainer.max_parameters", "the smallest has 26")
    assert unmet.count("error") == 1, texts(unmet)
    assert check(Right, trainer={**SHORT, "max_parameters": 60}).space.budgets[0].share > 0


def test_a_multi_trial_search_is_estimated_by_its_largest_network():
    one, more = (check_random(Right, trainer={"max_trials": number}, workers=1) for number in (1, 100))
    assert more.search.plan == "100 trials of 2 epochs of 5 steps"
    assert more.search.step.what == "one step of the largest architecture on 16 images"
    assert more.search.seconds > 5 * one.search.seconds
    workers = check_random(Right, trainer={"max_trials": 100}, workers=4)
    assert workers.search.plan.endswith(", 4 at the same time")


def test_an_evaluator_that_needs_no_data_evaluates_once(registry_of_scripted):
    report = nasreg.check(
        "evaluators:Digits", algorithm="descent", evaluator="scripted", registry=registry_of_scripted, device="cpu"
    )
    assert report.data is None
    assert report.search.step.what == "one evaluation of the largest architecture"
    assert holds(texts(report, "info"), "the evaluator needs no data")


@pytest.fixture
def registry_of_scripted():
    registry = nasreg.Registry()
    registry.register(DESCENT, SCRIPTED)
    return registry


def test_arguments_of_another_kind_are_refused():
    with pytest.raises(UsageError, match=r"^check: seed='0' is invalid"):
        nasreg.check(Right, toy_images(), seed="0")
    with pytest.raises(UsageError, match=r"^space: 5 is invalid"):
        nasreg.check(5, toy_images())


# -- the command ---------------------------------------------------------------------------------------------------


def folder_of_images(folder: Path) -> Path:
    """Write 30 images of two classes, two of them broken."""
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for number in range(15):
            Image.new("RGB", (8, 8), (number * 9, 60, 200 if label == "cat" else 0)).save(
                folder / label / f"{number:02}.png"
            )
    (folder / "cat/03.png").write_bytes(b"no image")
    (folder / "dog/11.png").write_bytes((folder / "dog/10.png").read_bytes()[:40])
    return folder


def test_the_command_names_every_file_that_cannot_be_read(tmp_path, capsys):
    folder = folder_of_images(tmp_path / "images")
    with working_in(tmp_path):
        argv = ["check", "darts", "--space", RIGHT, "--dataset", f"folder:{folder}", "--set", "dataset.grayscale=true"]
        assert main([*argv, "--device", "cpu"]) == 2
    out, err = capsys.readouterr()
    assert err == ""
    assert "03.png" in out
    assert "11.png" in out
    assert "warning: test set: there is none" in out
    assert out.splitlines()[-1] == "2 errors and 1 warning: the search would fail or mean nothing as it is"
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


@pytest.mark.slow
def test_the_command_says_what_was_checked_and_how_long_the_search_takes(tmp_path, capsys):
    with working_in(tmp_path):
        assert main(["check", *SEARCH]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for line in ("data", "search space", "choice normal", "choice reduce", "networks", "search"):
        assert f"\n{line}\n" in out
    assert out.splitlines()[-1].startswith("nothing wrong was found; the search will take about ")
    assert not any(tmp_path.iterdir())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_reading_of_images_is_counted(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    with Output().counting() as count:
        count("train", 64, 128)
        count("train", 128, 128)
    assert "reading the train set" in screen.getvalue()
    assert "128/128" in screen.getvalue()


def test_without_an_algorithm_it_is_that_of_the_configuration(tmp_path, capsys):
    config = tmp_path / "search.yaml"
    config.write_text(f"algorithm: random\nspace: {RIGHT}\n")
    argv = ["--set", "evaluator.epochs=1", "--set", "trainer.max_trials=2", "--quiet"]
    assert main(["check", str(config), *argv]) == 2  # its head has two outputs, and digits ten classes
    assert "need (2, 10)" in capsys.readouterr().out
    check_refused(["check", str(config), "--config", str(config)], "second configuration file", capsys)


@pytest.mark.slow
def test_a_run_yaml_is_checked_and_quiet_prints_the_findings(searched, capsys):
    assert main(["check", str(searched.path / "run.yaml"), "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["check", "--config", str(searched.path / "run.yaml"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "darts on digits, device cpu"


@pytest.mark.slow
def test_onnx_is_tried_where_it_is_installed(monkeypatch):
    monkeypatch.undo()
    assert check(Right).network.exports == {"pt2": True, "onnx": True}
