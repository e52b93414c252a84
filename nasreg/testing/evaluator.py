"""The contract of an evaluator as tests: an author derives from one class and names the evaluator."""

from __future__ import annotations

import itertools
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, Protocol

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

import nasreg
from nasreg.config.lookup import dataset_from_object
from nasreg.config.request import RunRequest
from nasreg.config.resolve import resolve
from nasreg.data import RunData
from nasreg.engine.multi_trial_job import MultiTrialJob
from nasreg.errors import ConfigError, IncompatibleError
from nasreg.evaluators import Evaluator
from nasreg.evaluators.outcome import evaluate_proposal
from nasreg.registry import default_registry
from nasreg.specs import Architecture, EvaluatorSpec, MetricSpec, Proposal, Score
from nasreg.testing.checks import (
    check_looking_up_imports_no_torch,
    check_options_are_described,
    check_options_survive_json,
    global_random_state,
)
from nasreg.testing.contents import differences
from nasreg.testing.small import short_evaluator_options, small_options, toy_images
from nasreg.testing.stand_ins import UNIFORM, stand_ins


class MakeEvaluator(Protocol):
    """Makes a new evaluator that is ready."""

    def __call__(self, space: str | None = None) -> Evaluator:
        """Make it for a space, by default that of the fixture ``space``."""


class EvaluatorContract:
    """Tests of one evaluator. A test class derives from this one and overrides the fixture ``evaluator``.

    The evaluator must be installed, or registered with ``nasreg.register`` (then the test of a light import is
    skipped). It has to be in a module that worker processes can import.

    Example:
        >>> class TestMyScore(EvaluatorContract):
        ...     @pytest.fixture
        ...     def evaluator(self):
        ...         return "my-score"
    """

    @pytest.fixture
    def evaluator(self) -> str:
        """Name of the evaluator. Override this."""
        raise NotImplementedError("override the fixture 'evaluator': it returns the name of yours")

    @pytest.fixture
    def space(self, spec: EvaluatorSpec) -> str:
        """Name of the space whose architectures it scores."""
        return spec.spaces[0] if spec.spaces else "chain"

    @pytest.fixture
    def evaluator_options(self, evaluator: str) -> dict[str, Any]:
        """Options of the evaluator that make an evaluation short."""
        return short_evaluator_options(evaluator)

    @pytest.fixture
    def data(self) -> Dataset[tuple[Tensor, ...]]:
        """The data, for an evaluator that needs them."""
        return toy_images()

    @pytest.fixture
    def spec(self, evaluator: str) -> EvaluatorSpec:
        """Its registered spec."""
        return nasreg.get_evaluator(evaluator)

    @pytest.fixture
    def make_evaluator(
        self, spec: EvaluatorSpec, space: str, evaluator_options: dict[str, Any], data: Dataset[tuple[Tensor, ...]]
    ) -> MakeEvaluator:
        """Makes new evaluators of one search."""
        own = space

        def make(space: str | None = None) -> Evaluator:
            chosen = space or own
            request = RunRequest(
                algorithm=UNIFORM.name,
                space=chosen,
                dataset=dataset_from_object(data),
                evaluator=spec.name,
                options={
                    "space": small_options(chosen),
                    "dataset": {"validation_fraction": 0.25},
                    "evaluator": evaluator_options,
                },
                seed=1,
                device="cpu",
            )
            registry = default_registry()
            with stand_ins():
                run = resolve(registry, request)
                MultiTrialJob.check(run, registry)
                images = None
                if MultiTrialJob.needs_data(run):
                    config = run.dataset_config
                    images = RunData(run.dataset.load(config), config, 1, torch.device("cpu"), test=False)
                made = MultiTrialJob(run, registry, images, None).evaluator
            made.setup()
            return made

        return make

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Let tests that take a ``claimed_space`` run with each that is installed."""
        if "claimed_space" in metafunc.fixturenames:
            metafunc.parametrize("claimed_space", nasreg.list_spaces())

    # -- its spec ------------------------------------------------------------------------------------------------------

    def test_looking_it_up_imports_no_torch(self, evaluator: str) -> None:
        """In a process of its own, with its plugin alone."""
        check_looking_up_imports_no_torch("evaluator", evaluator)

    def test_its_spec_and_its_options_survive_json(
        self, spec: EvaluatorSpec, evaluator_options: dict[str, Any]
    ) -> None:
        """Its options are the same after they were written to ``run.yaml`` and read."""
        assert EvaluatorSpec.model_validate_json(spec.model_dump_json()).model_dump() == spec.model_dump()
        check_options_survive_json(spec.component, {}, "defaults")
        check_options_survive_json(spec.component, evaluator_options, "evaluator_options")

    def test_every_option_has_a_default_and_a_description(self, evaluator: str) -> None:
        """They are what ``nasreg describe`` shows."""
        check_options_are_described("evaluator", nasreg.describe(evaluator, "evaluator")["evaluator"]["options"])

    def test_an_unknown_option_is_refused(self, spec: EvaluatorSpec, space: str, tmp_path: Path) -> None:
        """Before anything is written."""
        more: dict[str, Any] = {"evaluator": spec.name, "evaluator_options": {"no_such_option": 1}}
        with stand_ins(), pytest.raises(ConfigError, match=r"there is no option 'evaluator.no_such_option'"):
            nasreg.search(space, algorithm=UNIFORM.name, device="cpu", out=tmp_path / "run", **more)
        assert not (tmp_path / "run").exists()

    # -- its scores ----------------------------------------------------------------------------------------------------

    def test_its_objective_has_a_name_a_unit_and_a_direction(self, make_evaluator: MakeEvaluator) -> None:
        """The score has that direction, and its metrics are not the objective once more."""
        evaluator = make_evaluator()
        objective = evaluator.objective
        assert isinstance(objective, MetricSpec)
        assert make_evaluator().objective == objective
        assert all(isinstance(metric, MetricSpec) for metric in evaluator.metrics)
        score = _score(evaluator, _proposals(evaluator)[0])
        assert score.higher_is_better == objective.higher_is_better, "make scores with self.score"
        assert objective.name not in score.metrics
        assert objective.format(score.value)

    def test_the_score_depends_on_the_proposal_and_the_seed_alone(
        self, spec: EvaluatorSpec, make_evaluator: MakeEvaluator
    ) -> None:
        """A new evaluator gives the same score, whatever the global generators; of less fidelity, too."""
        [proposal, _] = _proposals(make_evaluator())
        for fidelity in (1.0, 0.5) if spec.fidelity else (1.0,):
            asked = replace(proposal, fidelity=fidelity)
            with global_random_state(1):
                score = _score(make_evaluator(), asked)
            with global_random_state(2):
                again = _score(make_evaluator(), asked)
            _check_same(score, again, f"fidelity {fidelity}")

    def test_the_score_does_not_depend_on_the_trials_before(self, make_evaluator: MakeEvaluator) -> None:
        """Two proposals in either order have the same scores, as in worker processes, each of which sees only some."""
        one, other = _proposals(make_evaluator())
        evaluator = make_evaluator()
        in_order = {proposal.id: _score(evaluator, proposal) for proposal in (one, other)}
        evaluator = make_evaluator()
        for proposal in (other, one):
            _check_same(in_order[proposal.id], _score(evaluator, proposal), f"trial {proposal.id} after the other")

    def test_its_spec_names_what_it_needs(self, spec: EvaluatorSpec, make_evaluator: MakeEvaluator) -> None:
        """It gets no data and builds no network unless its spec and its options say so (``needs_with``)."""
        made = make_evaluator()
        needs = spec.needs_with(made.config)
        assert (made.context.data is not None) == ("data" in needs)
        if "network" not in needs:
            made = type(made)(replace(made.context, build_network=_refuse_network), made.config)
            made.setup()
        assert _score(made, _proposals(made)[0])

    def test_it_scores_every_space_that_it_claims(
        self, spec: EvaluatorSpec, make_evaluator: MakeEvaluator, claimed_space: str
    ) -> None:
        """Architectures of those that its spec names, or of any; other spaces are refused first."""
        try:
            spec.check_space(claimed_space, nasreg.get_space(claimed_space))
        except IncompatibleError as error:
            with pytest.raises(IncompatibleError, match=re.escape(str(error))):
                make_evaluator(claimed_space)
            return
        evaluator = make_evaluator(claimed_space)
        for proposal in _proposals(evaluator):
            assert _score(evaluator, proposal)

    def test_worker_processes_give_the_same_scores(
        self,
        spec: EvaluatorSpec,
        space: str,
        evaluator_options: dict[str, Any],
        data: Dataset[tuple[Tensor, ...]],
        tmp_path: Path,
    ) -> None:
        """Everything that is sent to them can be pickled, and nothing depends on the process."""
        for executor in ("serial", "processes"):
            with stand_ins():
                nasreg.search(
                    space,
                    data,
                    UNIFORM.name,
                    trainer={"max_trials": 3},
                    evaluator=spec.name,
                    evaluator_options=evaluator_options,
                    space_options=small_options(space),
                    dataset_options={"validation_fraction": 0.25},
                    seed=1,
                    device="cpu",
                    workers=2,
                    executor=executor,
                    out=tmp_path / executor,
                )
        assert not differences(tmp_path / "serial", tmp_path / "processes")


def _proposals(evaluator: Evaluator) -> list[Proposal]:
    """Return the proposals of two architectures that differ."""
    space = evaluator.context.space
    drawn = (space.sample(random.Random(number)) for number in itertools.count())
    one = next(drawn)
    other = next(architecture for architecture in drawn if architecture != one)
    return [Proposal(1, one), Proposal(2, other)]


def _score(evaluator: Evaluator, proposal: Proposal) -> Score:
    outcome = evaluate_proposal(evaluator, proposal)
    assert outcome.score is not None, f"{outcome.reason}\n{outcome.traceback or ''}"
    return outcome.score


def _check_same(one: Score, other: Score, what: str) -> None:
    assert other.value == one.value, f"{what}: {other.value} instead of {one.value}"
    assert dict(other.metrics) == dict(one.metrics), what


def _refuse_network(architecture: Architecture) -> NoReturn:
    del architecture
    raise AssertionError("the evaluator builds a network: let its spec say so (needs)")
