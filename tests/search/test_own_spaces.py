"""A user's own search space: a class, a function or a model, in a module, a script or a notebook.

A space given as a class or function can be built by any other process; a model given as an object is copied, and what
cannot be done with it says so.
"""

from __future__ import annotations

import json
import os
import re
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import forked
import nasreg
from nasreg.errors import ConfigError, NasregError, RunDirectoryError, SpaceError
from nasreg.events import StepEnded, TrialProgress
from nasreg.nn import LayerChoice
from nasreg.runs.directory import RunDirectory
from nasreg.specs import DataInfo
from nasreg.testing import differences, toy_images
from tiny import Net, Own

pytestmark = pytest.mark.usefixtures("without_report")

TRAINER = {"epochs": 2, "batch_size": 16}
TRIALS = {"max_trials": 2}
SHORT = {"epochs": 1, "batch_size": 16}


def search(space, algorithm="darts", trainer=None, **more):
    trainer = trainer or (TRAINER if algorithm == "darts" else TRIALS)
    options = {"device": "cpu", "evaluator_options": SHORT if algorithm == "random" else None, **more}
    return nasreg.search(space, toy_images(64), algorithm, trainer=trainer, **options)


def train_loss(result):
    """Return the first training loss of a search."""
    return result.history[0]["train_loss"] if result.history else result.trials[0]["metrics"]["train_loss"]


class Plain(nn.Module):
    """Takes no shape of the data."""

    def __init__(self, width: int = 4, *, deep: bool = False) -> None:
        super().__init__()
        self.conv = LayerChoice([nn.Conv2d(1, width, 1), nn.Conv2d(1, width, 3, padding=1)], key="conv")
        self.norm = nn.BatchNorm2d(width)
        self.body = nn.Conv2d(width, width, 1) if deep else nn.Identity()
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Classify."""
        return self.head(torch.relu(self.body(self.norm(self.conv(x)))).mean((2, 3)))


def shaped(shape: DataInfo, width: int = 4) -> nn.Module:
    """Build a model; the shape of the data comes by annotation."""
    return Own(shape, width)


def without_info() -> nn.Module:
    """Build a model without options."""
    return Plain()


# -- classes and functions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "given", "options"),
    [
        (Own, {"width": 3}, {"width": 3}),
        (Own, {}, {"width": 4}),
        (Plain, {"deep": True}, {"width": 4, "deep": True}),
        (shaped, {"width": 5}, {"width": 5}),
        (without_info, {}, {}),
        ("tiny:Own", {"width": 3}, {"width": 3}),
    ],
    ids=["class with info", "default", "class without info", "function with annotation", "function", "reference"],
)
def test_a_class_or_function_is_a_space_with_its_parameters_as_options(tmp_path, space, given, options):
    result = search(space, trainer={**TRAINER, "epochs": 1}, space_options=given, out=tmp_path / "run")
    selection = RunDirectory(tmp_path / "run").spec.space
    assert selection.options == options
    name = space if isinstance(space, str) else f"{space.__module__}:{space.__qualname__}"
    assert selection.name == name
    head = result.model().head
    assert head.in_features == options.get("width", 4)


def test_the_options_of_a_class_are_checked():
    for options, message in (
        ({"width": "wide"}, r"space.width: 'wide' is invalid"),
        ({"widht": 3}, r"there is no option 'space.widht'.*Did you mean 'space.width'"),
    ):
        with pytest.raises(ConfigError, match=message):
            search(Plain, space_options=options)


@pytest.mark.parametrize("algorithm", ["darts", "random"])
def test_the_seed_covers_the_weights_of_a_class(tmp_path, algorithm):
    torch.manual_seed(1)
    first = search(Plain, algorithm, out=tmp_path / "first", seed=3)
    torch.manual_seed(2)
    second = search(Plain, algorithm, out=tmp_path / "second", seed=3)
    assert not differences(first.run_dir, second.run_dir)
    other = search(Plain, algorithm, seed=4)
    assert train_loss(other) != train_loss(first)


def test_lambdas_and_local_classes_serve_one_process(tmp_path):
    class Local(Plain):
        pass

    for number, space in enumerate((Local, lambda: Plain(width=2))):
        run = tmp_path / str(number)
        result = search(space, trainer={**TRAINER, "epochs": 1}, out=run)
        assert result.model()(torch.rand(2, 1, 8, 8)).shape == (2, 2)
        retrained = nasreg.retrain(result, (toy_images(), toy_images(8)), trainer={"epochs": 1}, device="cpu")
        assert "test_accuracy" in retrained.metrics
        for attempt in (
            lambda run=run: nasreg.resume(run),
            lambda run=run: nasreg.retrain(run, "digits"),
            lambda run=run: nasreg.find_architecture(run),
        ):
            with pytest.raises(RunDirectoryError, match=r"model given as an object \((Local|lambda)\)") as info:
                attempt()
            assert "\n" not in str(info.value)


class Keeping(Plain):
    """Keeps a tensor of its last pass, so that it cannot be copied any more."""

    def forward(self, x: Tensor) -> Tensor:
        """Classify."""
        self.features = self.norm(self.conv(x))
        return self.head(torch.relu(self.features).mean((2, 3)))


@pytest.mark.parametrize("algorithm", ["darts", "random"])
def test_a_model_that_keeps_tensors_of_its_last_pass_keeps_its_result(tmp_path, algorithm):
    result = search(Keeping, algorithm, out=tmp_path / "run")
    assert RunDirectory(tmp_path / "run").status["state"] == "done"
    assert result.model()(torch.rand(2, 1, 8, 8)).shape == (2, 2)
    if algorithm == "darts":
        assert result.model(keep_weights=True)(torch.rand(2, 1, 8, 8)).shape == (2, 2)


# -- instances ---------------------------------------------------------------------------------------------------------


def pretrained() -> Plain:
    """Return a model in evaluation mode whose weights are not those of a new one, with a frozen BatchNorm."""
    torch.manual_seed(5)
    model = Plain()
    with torch.no_grad():
        model.norm.running_mean.fill_(0.25)
        model.norm.running_var.fill_(4.0)
        model.norm.weight.fill_(0.5)
        model.head.weight.mul_(3)
    model.norm.requires_grad_(False)
    return model.eval()


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("algorithm", ["darts", "random"])
def test_a_model_is_copied_and_never_changed(algorithm):
    model = pretrained()
    before, modes = state(model), [module.training for module in model.modules()]
    first = search(model, algorithm, seed=1)
    second = search(model, algorithm, seed=1)
    assert same(before, state(model))
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.norm.parameters()] == [False, False]
    with pytest.raises(nasreg.NasregError):
        model(torch.rand(2, 1, 8, 8))  # its choices are undecided as before
    assert train_loss(first) == train_loss(second)


@pytest.mark.parametrize("algorithm", ["darts", "random"])
def test_the_network_of_a_model_starts_from_the_weights_of_the_model(algorithm):
    model = pretrained()
    result = search(model, algorithm)
    candidate = f"conv.candidates.{result.architecture.decisions['conv']}."
    expected = {name.replace(candidate, "conv."): value for name, value in state(model).items()}
    network = result.model()
    assert same(state(network), {name: expected[name] for name in network.state_dict()})
    assert not any(parameter.requires_grad for parameter in network.norm.parameters())


def test_a_model_that_a_function_returns_again_stays_whole():
    model = Plain()
    result = search(lambda: model, "random")
    assert isinstance(result.model().conv, nn.Conv2d)
    assert isinstance(model.conv, LayerChoice)


def test_a_network_is_built_without_the_factories_that_are_not_chosen():
    built = []

    def conv(size):
        built.append(str(size))
        return nn.Conv2d(1, 4, size, padding=size // 2)

    class Lazy(Plain):
        def __init__(self):
            super().__init__()
            self.conv = LayerChoice({str(size): partial(conv, size) for size in (1, 3, 5)}, key="conv")

    result = search(Lazy, "random")
    built.clear()
    result.model()
    assert built == [result.architecture.decisions["conv"]]


def test_each_trial_starts_from_the_weights_of_the_model():
    model = pretrained()
    seen = []

    def forward(module, args):
        del args
        if not seen or seen[-1][0] is not module:
            seen.append((module, state(module)))

    handle = nn.modules.module.register_module_forward_pre_hook(
        lambda module, args: forward(module, args) if isinstance(module, nn.Linear) else None
    )
    try:
        search(model, "random")
    finally:
        handle.remove()
    trials = [weights for _, weights in seen]
    assert len(trials) >= 2
    assert all(same(weights, state(model.head)) for weights in trials[:2])


@pytest.mark.parametrize("algorithm", ["darts", "random"])
def test_frozen_weights_and_statistics_keep_their_values(algorithm):
    model = pretrained()
    frozen = state(model.norm)
    checked = []

    def check(event):
        if isinstance(event, StepEnded | TrialProgress):
            checked.append(event)

    seen: dict[int, nn.Module] = {}
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, args, output: (
            seen.__setitem__(id(module), module) if isinstance(module, nn.BatchNorm2d) else None
        )
    )
    try:
        result = search(model, algorithm, callbacks=[check])
    finally:
        handle.remove()
    assert checked
    assert seen
    assert all(same(state(module), frozen) for module in seen.values())
    if algorithm == "darts":
        kept = result.model(keep_weights=True)
        assert same(state(kept.norm), frozen)
        assert not torch.equal(kept.head.weight, model.head.weight)


def test_frozen_statistics_keep_their_values_in_a_retraining():
    model = pretrained()
    result = search(model, trainer={**TRAINER, "epochs": 1})
    retrained = nasreg.retrain(result, (toy_images(), toy_images(8)), trainer={"epochs": 2}, device="cpu")
    assert same(state(retrained.network.norm), state(model.norm))
    assert not torch.equal(retrained.network.head.weight, model.head.weight)


def test_another_process_cannot_build_a_model_given_as_an_object(tmp_path):
    search(Plain(), trainer={**TRAINER, "epochs": 1}, out=tmp_path / "run")
    for attempt in (
        lambda: nasreg.resume(tmp_path / "run"),
        lambda: nasreg.retrain(tmp_path / "run", "digits"),
        lambda: nasreg.find_architecture(tmp_path / "run"),
    ):
        with pytest.raises(NasregError, match=r"model given as an object \(Plain\)") as info:
            attempt()
        assert "\n" not in str(info.value)


def test_a_model_that_cannot_be_copied_is_refused_with_the_way_that_can(tmp_path):
    model = Keeping()
    model.features = torch.ones(1, requires_grad=True) * 2  # no leaf: torch refuses to copy it
    with pytest.raises(
        SpaceError, match=r"the model Keeping cannot be copied .*: give the class or a function"
    ) as info:
        search(model, out=tmp_path / "run")
    assert "nasreg.search(Keeping, data)" in str(info.value)
    assert "\n" not in str(info.value)
    assert not (tmp_path / "run").exists()


def test_a_model_given_again_resumes_its_run(tmp_path):
    whole = search(Net(), out=tmp_path / "whole", seed=1)

    def fail(event):
        if isinstance(event, StepEnded) and event.epoch == 2:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        search(Net(), out=tmp_path / "run", seed=1, callbacks=[fail])
    search(Net(), out=tmp_path / "run", seed=1, resume=True)
    assert not differences(tmp_path / "run", whole.run_dir)


# -- other processes ---------------------------------------------------------------------------------------------------

SPACE = """
import torch
from torch import nn
from nasreg.nn import LayerChoice

class Net(nn.Module):
    def __init__(self, info, width: int = 2):
        super().__init__()
        self.conv = LayerChoice(
            {"c1": nn.Conv2d(info.channels, width, 1), "c3": nn.Conv2d(info.channels, width, 3, padding=1)}, key="conv"
        )
        self.head = nn.Linear(width, info.n_classes)

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).mean((2, 3)))
"""
SEARCH = """
import sys
import nasreg
from nasreg.events import StepEnded

def stop(event):
    if isinstance(event, StepEnded) and event.epoch == 2:
        raise KeyboardInterrupt

def main(callbacks):
    nasreg.search(
        Net, "digits", "darts", trainer={"epochs": 2, "batch_size": 16}, space_options={"width": 3},
        dataset_options={"limit": 40}, device="cpu", out=sys.argv[1], callbacks=callbacks,
    )

if __name__ == "__main__":
    try:
        main([stop])
    except KeyboardInterrupt:
        print("interrupted")
"""


def run(*argv: object, cwd: Path) -> str:
    """Run a ``nasreg`` command in a new process, and return what it printed."""
    return forked.check(forked.nasreg(*argv, cwd=cwd)).out


@pytest.fixture(params=["script", "module"])
def interrupted(request, tmp_path) -> tuple[Path, str]:
    """A run of a space in a script, or in a module that a script imports, which was interrupted; and its reference."""
    project, run = tmp_path / "my project", tmp_path / "run"
    project.mkdir()
    if request.param == "script":
        (project / "search it.py").write_text(SPACE + SEARCH)
        reference = f"{project / 'search it.py'}:Net"
    else:
        (project / "models").mkdir()
        (project / "models/__init__.py").touch()
        (project / "models/own.py").write_text(SPACE)
        (project / "search it.py").write_text(f"from models.own import Net\n{SEARCH}")
        reference = "models.own:Net"
    done = forked.check(forked.script(project / "search it.py", run, cwd=tmp_path))
    assert done.out == "interrupted\n"
    return run, reference


@pytest.mark.slow
def test_every_command_builds_the_space_of_a_script_or_module_in_a_new_process(tmp_path, interrupted):
    run_dir, reference = interrupted
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert RunDirectory(run_dir).spec.space.name == reference

    resumed = json.loads(run("resume", run_dir, "--json", cwd=elsewhere))
    assert resumed["run_dir"] == str(run_dir)
    assert RunDirectory(run_dir).status["state"] == "done"

    options = ("--set", "trainer.epochs=1", "--set", "dataset.limit=60", "--device", "cpu")
    trained, file = tmp_path / "trained", elsewhere / "net.safetensors"
    shown = run("show", run_dir, cwd=elsewhere)
    run("retrain", run_dir, *options, "--out", trained, cwd=elsewhere)
    evaluated = run("evaluate", trained, "--device", "cpu", cwd=elsewhere)
    profiled = run("profile", run_dir, "--device", "cpu", cwd=elsewhere)
    run("export", trained, "--weights", trained / "last.safetensors", "-o", file, cwd=elsewhere)
    assert re.search(r"conv\b.*c[13]", shown)
    assert "top-5" in evaluated
    assert "parameters" in profiled
    assert file.stat().st_size > 0

    def load() -> None:
        network = nasreg.load_network(trained / "last.safetensors")
        assert not network.training
        assert network(torch.rand(2, 1, 8, 8)).shape == (2, 10)
        assert network.head.in_features == 3

    forked.check(forked.call(load, cwd=elsewhere))


def test_a_weight_file_outside_of_its_run_needs_the_space_to_be_named(tmp_path, monkeypatch):
    project = tmp_path / "project"
    project.mkdir()
    (project / "space_of_a_weight_file.py").write_text(SPACE)
    monkeypatch.chdir(project)
    options = {"dataset_options": {"limit": 40}, "device": "cpu", "trainer": {"epochs": 1, "batch_size": 16}}
    result = nasreg.search("space_of_a_weight_file:Net", "digits", "darts", **options)
    nasreg.retrain(result, "digits", out=tmp_path / "run", **options)
    moved = tmp_path / "moved.safetensors"
    os.link(tmp_path / "run/last.safetensors", moved)
    assert isinstance(nasreg.load_network(tmp_path / "run/last.safetensors"), nn.Module)
    with pytest.raises(ConfigError, match=r"of your own search space 'space_of_a_weight_file:Net': if you trust the"):
        nasreg.load_network(moved)
    assert isinstance(nasreg.load_network(moved, space="space_of_a_weight_file:Net"), nn.Module)
