"""The contract of an algorithm as tests: an author derives from one class and names the algorithm.

The tests run real, small searches with real training (see ``nasreg.testing.small``).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

import nasreg
from nasreg.config.resolve import RunRequest, resolve
from nasreg.engine.search_result import SearchResult
from nasreg.errors import ConfigError, IncompatibleError, InterruptedRunError
from nasreg.events import Event, StepEnded
from nasreg.nn.extract import named_choices
from nasreg.registry import default_registry
from nasreg.runs import files
from nasreg.specs import AlgorithmSpec, Architecture, DataInfo, RunSpec
from nasreg.testing.contents import differences
from nasreg.testing.small import short_options, small_options, toy_images

_LIGHT = """
import json, sys
import nasreg
described = nasreg.describe(sys.argv[1], "algorithm")
print(json.dumps([described["algorithm"]["name"], "torch" in sys.modules]))
"""


class Search(Protocol):
    """Runs a small search with the algorithm under test."""

    def __call__(self, out: Path, space: str | None = None, **more: Any) -> SearchResult:
        """Run it; ``more`` are arguments of ``nasreg.search``."""


class AlgorithmContract:
    """Tests of one algorithm. A test class derives from this one and overrides the fixture ``algorithm``.

    The searches take the preset ``demo`` where the algorithm has one, else its default, shortened by
    ``trainer_options``. The algorithm must be installed, or registered with ``nasreg.register`` (then the test of a
    light import is skipped).

    Example:
        >>> class TestMyAlgo(AlgorithmContract):
        ...     @pytest.fixture
        ...     def algorithm(self):
        ...         return "my-algo"
    """

    @pytest.fixture
    def algorithm(self) -> str:
        """Name of the algorithm. Override this."""
        raise NotImplementedError("override the fixture 'algorithm': it returns the name of yours")

    @pytest.fixture
    def trainer_options(self, algorithm: str) -> dict[str, Any]:
        """Options of the trainer that make a search short, with two epochs or more. Override where yours differ."""
        return short_options(algorithm)

    @pytest.fixture
    def data(self) -> Dataset[tuple[Tensor, ...]]:
        """The data that is searched on. Override it for an algorithm that needs other data."""
        return toy_images()

    @pytest.fixture
    def spec(self, algorithm: str) -> AlgorithmSpec:
        """Its registered spec."""
        return nasreg.get_algorithm(algorithm)

    @pytest.fixture
    def search(self, spec: AlgorithmSpec, trainer_options: dict[str, Any], data: Dataset[tuple[Tensor, ...]]) -> Search:
        """Runs a small search."""

        def run(out: Path, space: str | None = None, **more: Any) -> SearchResult:
            arguments: dict[str, Any] = {
                "preset": "demo" if "demo" in spec.presets else None,
                "trainer": trainer_options,
                "space_options": small_options(space or spec.default_space),
                "dataset_options": {"validation_fraction": 0.25},
                "seed": 1,
                "device": "cpu",
                "out": out,
            }
            return nasreg.search(space, data, spec.name, **{**arguments, **more})

        return run

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Let tests that take a ``space`` run with each that is installed."""
        if "space" in metafunc.fixturenames:
            metafunc.parametrize("space", nasreg.list_spaces())

    # -- its spec --------------------------------------------------------------------------------------------

    def test_looking_it_up_imports_no_torch(self, algorithm: str) -> None:
        """In a process of its own, with its plugin alone."""
        record = next(record for record in default_registry().plugins() if algorithm in record.algorithms)
        if record.distribution is None:
            pytest.skip("it is registered in this process and belongs to no package")
        done = subprocess.run(
            [sys.executable, "-c", _LIGHT, algorithm],
            env={**_environment(), "NASREG_PLUGINS": record.distribution},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        name, imported = json.loads(done.stdout)
        assert name == algorithm
        assert not imported, "the plugin module or a module of a config class imports torch: name factories by string"

    def test_its_spec_and_every_preset_survive_json(self, spec: AlgorithmSpec) -> None:
        """Each preset gives a run in which nothing is left open, and whose options are the same after JSON."""
        assert AlgorithmSpec.model_validate_json(spec.model_dump_json()).model_dump() == spec.model_dump()
        for preset in spec.presets:
            run = resolve(default_registry(), RunRequest(algorithm=spec.name, preset=preset)).spec
            assert isinstance(run, RunSpec)
            for component, options in ((spec.mutator, run.mutator), (spec.trainer, run.trainer)):
                config = component.load_config()
                parsed = config.model_validate(options)
                assert config.model_validate_json(parsed.model_dump_json()) == parsed, f"preset {preset}"

    def test_every_option_has_a_default_and_a_description(self, algorithm: str) -> None:
        """They are what ``nasreg describe`` shows."""
        described = nasreg.describe(algorithm, "algorithm")["algorithm"]
        for part in ("mutator", "trainer"):
            for option in described[part]["options"]:
                assert not option["required"], f"{part}.{option['name']} has no default"
                assert option["description"], f"{part}.{option['name']} has no description"

    @pytest.mark.parametrize("part", ["mutator", "trainer"])
    def test_an_unknown_option_is_refused(self, search: Search, tmp_path: Path, part: str) -> None:
        """Before anything is written."""
        with pytest.raises(ConfigError, match=f"there is no option '{part}.no_such_option'"):
            search(tmp_path / "run", None, **{part: {"no_such_option": 1}})
        assert not (tmp_path / "run").exists()

    # -- its searches --------------------------------------------------------------------------------------------------

    def test_it_runs_on_every_space_that_it_claims(
        self, spec: AlgorithmSpec, search: Search, tmp_path: Path, space: str
    ) -> None:
        """Its architectures belong to the space and freeze to networks that train; other spaces are refused first."""
        out = tmp_path / "run"
        if reason := _refusal(spec, space):
            with pytest.raises(IncompatibleError) as caught:
                search(out, space)
            assert str(caught.value) == reason
            assert not out.exists()
            return
        result = search(out, space)
        for path in [out / files.ARCHITECTURE, *(out / files.ARCHITECTURES).iterdir()]:
            result.space.validate(Architecture.load(path))
        network = result.model()
        assert not any(type(module).__module__.startswith("nasreg.nn") for module in network.modules())
        losses = _train(network)
        assert losses[-1] < losses[0], "the network of the architecture does not train"

    def test_the_seed_decides_everything(self, search: Search, tmp_path: Path) -> None:
        """Two runs with one seed are equal bit for bit; with another seed the weights are others."""
        search(tmp_path / "one")
        search(tmp_path / "same")
        assert not differences(tmp_path / "one", tmp_path / "same")
        search(tmp_path / "other", seed=2)
        differing = differences(tmp_path / "one", tmp_path / "other")
        assert any(name.startswith("checkpoint.pt/model/") for name in differing)

    def test_parameters_change(self, spec: AlgorithmSpec, search: Search, tmp_path: Path) -> None:
        """From the last epoch but one to the last: weights, and in a one-shot search what every architecture shares."""
        result = search(tmp_path / "run")
        previous = tmp_path / "run/checkpoint.previous.pt"
        assert previous.exists(), "there was only one epoch: let trainer_options give two"
        before, after = (torch.load(path, weights_only=True) for path in (previous, tmp_path / "run/checkpoint.pt"))
        moved = {name for name, value in after["model"].items() if not torch.equal(value, before["model"].get(name))}
        if spec.family == "one-shot":
            assert result.supernet is not None, "a one-shot trainer gives its supernet"
            unchanged = sorted(_shared_parameters(result.supernet) - moved)
            assert not unchanged, "weights that every architecture shares are not trained"
        assert moved, "no weight is trained"
        alphas = _tensors(after["mutator"])
        if alphas:
            assert alphas != _tensors(before["mutator"]), "nothing of the mutator is trained"

    def test_interrupted_and_resumed_it_is_the_same_run(self, search: Search, tmp_path: Path) -> None:
        """Interrupted after the first step, twice around the middle, before the last: as if nothing had happened."""
        steps: list[tuple[int, int]] = []

        def count(event: Event) -> None:
            if isinstance(event, StepEnded):
                steps.append((event.epoch, event.step))

        search(tmp_path / "whole", callbacks=[count])
        middle = len(steps) // 2
        for number, stop in enumerate((steps[0], steps[middle - 1], steps[middle], steps[-2])):

            def interrupt(event: Event, stop: tuple[int, int] = stop) -> None:
                if isinstance(event, StepEnded) and (event.epoch, event.step) == stop:
                    signal.raise_signal(signal.SIGINT)

            with pytest.raises(InterruptedRunError):
                search(tmp_path / "cut", callbacks=[interrupt], resume=number > 0)
        search(tmp_path / "cut", resume=True)
        assert not differences(tmp_path / "whole", tmp_path / "cut")


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("NASREG")}


def _refusal(spec: AlgorithmSpec, space: str) -> str | None:
    """Return the error if an algorithm cannot search a space according to their specs."""
    entry = nasreg.get_space(space)
    info = DataInfo(channels=1, height=8, width=8, classes=("dark", "bright"))
    module = entry.component.load_factory()(info, entry.component.load_config()(**small_options(space)))
    try:
        installed = [nasreg.get_space(name) for name in nasreg.list_spaces()]
        spec.check_space(space, nasreg.extract_space(module), entry, installed)
    except IncompatibleError as error:
        return str(error)
    return None


def _train(network: nn.Module) -> list[float]:
    # Short steps of a bounded length, so that the loss falls whatever the weights begin with.
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    x, y = toy_images(16).tensors
    losses = []
    for _ in range(10):
        loss = F.cross_entropy(network(x), y)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    return losses


def _shared_parameters(supernet: nn.Module) -> set[str]:
    """Return the names of the parameters that are no part of a choice, so that every step uses them."""
    choices = tuple(f"{choice.path}." for choice in named_choices(supernet))
    return {name for name, value in supernet.named_parameters() if value.requires_grad and not name.startswith(choices)}


def _tensors(state: dict[str, Any]) -> dict[str, list[float]]:
    return {
        name: value.flatten().tolist()
        for name, value in state.items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }
