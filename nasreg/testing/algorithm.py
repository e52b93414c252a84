"""The contract of an algorithm as tests: an author derives from one class and names the algorithm.

The tests run real, small searches (see ``nasreg.testing.small``).
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

import nasreg
from nasreg.config.lookup import find_space
from nasreg.config.request import RunRequest
from nasreg.config.resolve import resolve
from nasreg.engine.search_result import SearchResult
from nasreg.errors import ConfigError, IncompatibleError, InterruptedRunError
from nasreg.events import Event, StepEnded, SupernetProgress, TrialEnded, TrialProgress
from nasreg.networks.references import EXAMPLE_INFO, describe_space
from nasreg.nn.extract import named_choices
from nasreg.registry import default_registry
from nasreg.runs import files
from nasreg.specs import AlgorithmSpec, Architecture, RunSpec
from nasreg.testing.checks import (
    check_looking_up_imports_no_torch,
    check_options_are_described,
    check_options_survive_json,
    global_random_state,
    shared_by_class,
)
from nasreg.testing.contents import differences
from nasreg.testing.multi_trial import MultiTrialTests, QuickSearch
from nasreg.testing.small import short_evaluator_options, short_options, small_options, toy_images

_Moment = tuple[type[Event], int, int, int]
"""The kind of an event, and of its trial, epoch and step those that it has."""

_states = itertools.count()
"""Each search begins with another state of the global generators."""


class _Whole(NamedTuple):
    """A search that ran from its start to its end."""

    path: Path
    result: SearchResult
    moments: list[_Moment]
    """Those at which it could have been interrupted, in order."""


_WHOLE = pytest.StashKey[dict[str, _Whole]]()


class Search(Protocol):
    """Runs a small search with the algorithm under test."""

    def __call__(self, out: Path, space: str | None = None, **more: Any) -> SearchResult:
        """Run it; ``more`` are arguments of ``nasreg.search``."""


class AlgorithmContract(MultiTrialTests):
    """Tests of one algorithm. A test class derives from this one and overrides the fixture ``algorithm``.

    The searches take the preset ``demo`` where the algorithm has one, else its default, shortened by
    ``trainer_options`` and, of a multi-trial algorithm, ``evaluator_options``. The algorithm must be installed, or
    registered with ``nasreg.register`` (then the test of a light import is skipped). Tests that are for the other
    family of algorithms are skipped.

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
        """Options of the trainer that make a search short, with two epochs or trials or more."""
        return short_options(algorithm)

    @pytest.fixture
    def mutator_options(self) -> dict[str, Any]:
        """Options of the mutator; override it for small ones, such as a population of four."""
        return {}

    @pytest.fixture
    def evaluator_options(self, spec: AlgorithmSpec) -> dict[str, Any]:
        """Options of the algorithm's evaluator that make a trial short."""
        return {} if spec.default_evaluator is None else short_evaluator_options(spec.default_evaluator)

    @pytest.fixture
    def data(self) -> Dataset[tuple[Tensor, ...]]:
        """The data that is searched on. Override it for an algorithm that needs other data."""
        return toy_images()

    @pytest.fixture
    def spec(self, algorithm: str) -> AlgorithmSpec:
        """Its registered spec."""
        return nasreg.get_algorithm(algorithm)

    @pytest.fixture
    def search(
        self,
        spec: AlgorithmSpec,
        trainer_options: dict[str, Any],
        mutator_options: dict[str, Any],
        evaluator_options: dict[str, Any],
        data: Dataset[tuple[Tensor, ...]],
    ) -> Search:
        """Runs a small search, each with another state of the global generators of random numbers."""

        def run(out: Path, space: str | None = None, **more: Any) -> SearchResult:
            arguments: dict[str, Any] = {
                "preset": "demo" if "demo" in spec.presets else None,
                "trainer": trainer_options,
                "mutator": mutator_options,
                "evaluator": spec.default_evaluator,  # not that of the space, which takes other options
                "evaluator_options": evaluator_options,
                "space_options": small_options(space or spec.default_space),
                "dataset_options": {"validation_fraction": 0.25},
                "seed": 1,
                "device": "cpu",
                "out": out,
            }
            with global_random_state(next(_states)):
                return nasreg.search(space, data, spec.name, **{**arguments, **more})

        return run

    @pytest.fixture
    def whole(
        self,
        request: pytest.FixtureRequest,
        algorithm: str,
        search: Search,
        trainer_options: dict[str, Any],
        mutator_options: dict[str, Any],
        evaluator_options: dict[str, Any],
        tmp_path_factory: pytest.TempPathFactory,
    ) -> Callable[[], _Whole]:
        """Runs one search for all tests of the class that only look at it."""
        searches = shared_by_class(request, _WHOLE)
        given = repr((algorithm, trainer_options, mutator_options, evaluator_options))

        def run() -> _Whole:
            if given not in searches:
                moments: list[_Moment] = []

                def note(event: Event) -> None:
                    if (moment := _moment(event)) is not None:
                        moments.append(moment)

                path = tmp_path_factory.mktemp("whole") / "run"
                searches[given] = _Whole(path, search(path, callbacks=[note]), moments)
            return searches[given]

        return run

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Let tests that take a ``space`` run with each that is installed."""
        if "space" in metafunc.fixturenames:
            metafunc.parametrize("space", nasreg.list_spaces())

    # -- its spec ------------------------------------------------------------------------------------------------------

    def test_looking_it_up_imports_no_torch(self, algorithm: str) -> None:
        """In a process of its own, with its plugin alone."""
        check_looking_up_imports_no_torch("algorithm", algorithm)

    def test_its_spec_and_every_preset_survive_json(self, spec: AlgorithmSpec) -> None:
        """Each preset gives a run in which nothing is left open, and whose options are the same after JSON."""
        assert AlgorithmSpec.model_validate_json(spec.model_dump_json()).model_dump() == spec.model_dump()
        for preset in spec.presets:
            run = resolve(default_registry(), RunRequest(algorithm=spec.name, preset=preset))
            found = run.spec
            assert isinstance(found, RunSpec)
            check_options_survive_json(spec.mutator, found.mutator, f"mutator, preset {preset}")
            check_options_survive_json(spec.trainer, found.trainer, f"trainer, preset {preset}")
            if run.evaluator is not None and found.evaluator is not None:
                options = found.evaluator.options
                check_options_survive_json(run.evaluator.component, options, f"evaluator, preset {preset}")

    def test_every_option_has_a_default_and_a_description(self, algorithm: str) -> None:
        """They are what ``nasreg describe`` shows."""
        described = nasreg.describe(algorithm, "algorithm")["algorithm"]
        for part in ("mutator", "trainer"):
            check_options_are_described(part, described[part]["options"])

    @pytest.mark.parametrize("part", ["mutator", "trainer"])
    def test_an_unknown_option_is_refused(self, search: Search, tmp_path: Path, part: str) -> None:
        """Before anything is written."""
        with pytest.raises(ConfigError, match=f"there is no option '{part}.no_such_option'"):
            search(tmp_path / "run", None, **{part: {"no_such_option": 1}})
        assert not (tmp_path / "run").exists()

    # -- its searches --------------------------------------------------------------------------------------------------

    def test_it_runs_on_every_space_that_it_claims(
        self,
        spec: AlgorithmSpec,
        search: Search,
        evaluator_options: dict[str, Any],
        data: Dataset[tuple[Tensor, ...]],
        tmp_path: Path,
        space: str,
    ) -> None:
        """Its architectures belong to the space and freeze to networks that train; other spaces are refused first.

        Its trials are trained for one epoch, unless some of them get a part of the full effort.
        """
        out = tmp_path / "run"
        if reason := _refusal(spec, space):
            with pytest.raises(IncompatibleError) as caught:
                search(out, space)
            assert str(caught.value) == reason
            assert not out.exists()
            return
        shorter = {"epochs": 1} if "epochs" in evaluator_options and not spec.fidelity else {}
        result = search(out, space, evaluator_options={**evaluator_options, **shorter})
        result.space.validate(result.architecture)
        for path in [out / files.ARCHITECTURE, *out.glob(f"{files.ARCHITECTURES}/*")]:
            result.space.validate(Architecture.load(path))
        for trial in result.trials:
            assert trial["status"] != "failed", f"trial {trial['trial']} failed: {trial['reason']}"
            result.space.architecture(trial["architecture"])
        network = result.model()
        assert not any(type(module).__module__.startswith("nasreg.nn") for module in network.modules())
        losses = _train(network, *_batch(spec, data))
        assert losses[-1] < losses[0], "the network of the architecture does not train"

    def test_the_seed_decides_everything(
        self,
        spec: AlgorithmSpec,
        search: Search,
        whole: Callable[[], _Whole],
        quick_search: QuickSearch,
        tmp_path: Path,
    ) -> None:
        """Two runs with one seed are equal bit for bit, whatever the global generators; with another seed they differ.

        Of a multi-trial algorithm the proposals are compared, in a search without training.
        """
        if spec.family == "multi-trial":
            trials = quick_search(tmp_path / "one")
            assert quick_search(tmp_path / "same") == trials
            assert quick_search(tmp_path / "other", seed=2) != trials, "the proposals do not depend on the seed"
            return
        one = whole().path
        search(tmp_path / "same")
        assert not differences(one, tmp_path / "same")
        search(tmp_path / "other", seed=2)
        differing = differences(one, tmp_path / "other")
        assert any(name.startswith("checkpoint.pt/model/") for name in differing)

    def test_parameters_change(self, spec: AlgorithmSpec, whole: Callable[[], _Whole]) -> None:
        """From the last epoch but one to the last, in a one-shot search, also those that every architecture shares."""
        if spec.family != "one-shot":
            pytest.skip("a multi-trial algorithm trains no supernet")
        path, result, _ = whole()
        previous = path / files.PREVIOUS_CHECKPOINT
        assert previous.exists(), "there was only one epoch: let trainer_options give two"
        before, after = (torch.load(each, weights_only=True) for each in (previous, path / files.CHECKPOINT))
        moved = {name for name, value in after["model"].items() if not torch.equal(value, before["model"].get(name))}
        assert result.supernet is not None, "a one-shot trainer gives its supernet"
        unchanged = sorted(_shared_parameters(result.supernet) - moved)
        assert not unchanged, "weights that every architecture shares are not trained"
        assert moved, "no weight is trained"
        alphas = _tensors(after["mutator"])
        if alphas:
            assert alphas != _tensors(before["mutator"]), "nothing of the mutator is trained"

    def test_interrupted_and_resumed_it_is_the_same_run(
        self, search: Search, whole: Callable[[], _Whole], tmp_path: Path
    ) -> None:
        """Interrupted after the first step, in the middle and before the last: as if nothing had happened.

        Trials are interrupted both while they are evaluated and when they have ended.
        """
        path, _, moments = whole()
        ends = [moment for moment in moments if moment[0] is TrialEnded]
        stops = {moments[0], moments[len(moments) // 2 - 1], *ends[-2:-1], moments[-2]}
        for number, stop in enumerate(sorted(stops, key=moments.index)):

            def interrupt(event: Event, stop: _Moment = stop) -> None:
                if _moment(event) == stop:
                    signal.raise_signal(signal.SIGINT)

            with pytest.raises(InterruptedRunError):
                search(tmp_path / "cut", callbacks=[interrupt], resume=number > 0)
        search(tmp_path / "cut", resume=True)
        assert not differences(path, tmp_path / "cut")


def _moment(event: Event) -> _Moment | None:
    """Return the moment of a search in which an event is sent, if a search can be interrupted then."""
    match event:
        case StepEnded():
            return StepEnded, 0, event.epoch, event.step
        case SupernetProgress():
            return SupernetProgress, 0, event.epoch, event.step
        case TrialProgress():
            return TrialProgress, event.trial, event.epoch, event.step
        case TrialEnded() if event.trial.status != "rejected":
            return TrialEnded, event.trial.id, 0, 0
    return None


def _refusal(spec: AlgorithmSpec, space: str) -> str | None:
    """Return the error if an algorithm, or its evaluator, cannot search a space according to their specs."""
    registry = default_registry()
    source = find_space(registry, space)
    installed = [registry.space(name) for name in registry.spaces()]
    try:
        if spec.default_evaluator is not None:
            registry.evaluator(spec.default_evaluator).check_space(space, source.entry)
        spec.check_space(space, describe_space(source, small_options(space)), source.entry, installed)
    except IncompatibleError as error:
        return str(error)
    return None


def _batch(spec: AlgorithmSpec, data: Dataset[tuple[Tensor, ...]]) -> tuple[Tensor, Tensor]:
    """Return a few images that the network of a search can be trained on, and their labels."""
    if spec.default_evaluator is None or "data" in nasreg.get_evaluator(spec.default_evaluator).needs:
        x, y = default_collate([data[index] for index in range(16)])
        return x, y
    x, y = toy_images(16, EXAMPLE_INFO.height).tensors
    return x.expand(-1, EXAMPLE_INFO.channels, -1, -1), y


def _train(network: nn.Module, x: Tensor, y: Tensor) -> list[float]:
    # Short steps of a bounded length, so that the loss falls whatever the weights begin with.
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
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


def _tensors(state: Mapping[str, Any]) -> dict[str, list[float]]:
    return {
        name: value.flatten().tolist()
        for name, value in state.items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }
