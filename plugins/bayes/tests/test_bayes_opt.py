"""Bayesian optimisation: it learns, copes with failures and small spaces, and computes what the formulas say."""

from __future__ import annotations

import random
from statistics import fmean

import numpy as np
import pytest
from torch import nn

import nasreg
from nasreg.errors import ConfigError
from nasreg.events import Notice
from nasreg.nn import LayerChoice
from nasreg.specs import Score
from nasreg_bayes.config import SamplerConfig
from nasreg_bayes.sampler import Sampler, targets
from nasreg_bayes.surrogates import Forest, GaussianProcess

INITIAL = 10


def distances(result):
    return [trial["score"] for trial in result.trials if trial["status"] == "done"]


@pytest.fixture(scope="module")
def space():
    return nasreg.extract_space(nn.ModuleList([LayerChoice([nn.ReLU(), nn.Tanh()], key=key) for key in "abcdef"]))


@pytest.mark.parametrize(
    ("surrogate", "acquisition", "kind"),
    [("gp", "ei", "ranks"), ("gp", "ucb", "values"), ("gp", "thompson", "ranks"), ("forest", "ei", "values")],
)
def test_it_learns_where_the_best_is(search, surrogate, acquisition, kind):
    options = {"surrogate": surrogate, "acquisition": acquisition, "targets": kind, "initial": INITIAL}
    found = distances(search("bayes-opt", 45, mutator=options))
    assert min(found[INITIAL:]) <= 1 < min(found[:INITIAL])
    assert fmean(found[-15:]) < fmean(found[:INITIAL]) - 2


def test_no_architecture_is_proposed_twice_with_several_workers_too(search):
    for workers in (1, 3):
        trials = search("bayes-opt", 25, workers=workers, executor="serial", mutator={"initial": 5}).trials
        assert len({str(trial["architecture"]) for trial in trials}) == len(trials) == 25


def test_a_space_that_is_used_up_ends_the_search(search):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([LayerChoice([nn.Identity(), nn.ReLU()], key=key) for key in "ab"])
            self.head = nn.Linear(1, 2)

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return self.head(x.mean((2, 3)))

    notices = []
    callbacks = [lambda event: notices.append(event.message) if isinstance(event, Notice) else None]
    result = search("bayes-opt", 20, space=Net, mutator={"initial": 2}, callbacks=callbacks)
    assert len(distances(result)) == 4
    assert "the search ends with what it has: all 4 architectures of the space were proposed" in notices


def test_what_fails_is_avoided(search):
    trials = search("bayes-opt", 50, evaluator_options={"failing": True}, trainer={"max_failures": 50}).trials
    failed = [trial["status"] == "failed" for trial in trials]
    assert fmean(failed[-20:]) < fmean(failed[:20]) / 2


@pytest.mark.slow
def test_what_is_above_a_budget_is_avoided(search):
    rejected = {}
    for algorithm in ("bayes-opt", "random"):
        trials = search(algorithm, 25, trainer={"max_parameters": "40%"}, space_options={"channels": 2}).trials
        rejected[algorithm] = sum(trial["status"] == "rejected" for trial in trials)
    assert 0 < rejected["bayes-opt"] < rejected["random"] / 2


def test_targets_keep_the_order_whatever_the_scores():
    for better in (True, False):
        scores = [Score(value, {}, better) for value in (3.0, -1e300, 1e300, 5.0)]
        for kind in ("ranks", "values"):
            found = targets([*scores, None], kind)
            assert np.isfinite(found).all()
            assert found.mean() == pytest.approx(0)
            assert found.std() == pytest.approx(1)
            best, worst = (2, 1) if better else (1, 2)
            assert found.argmax() == best
            assert found[4] == found[worst] == found.min()
    assert not targets([Score(1.0), Score(1.0)], "values").any()


def test_acquisition_functions(space):
    rng, draws = random.Random(0), np.random.default_rng(0).standard_normal(400_000)
    mean, std = np.array([0.0, 0.5, -1.0]), np.array([1.0, 0.2, 2.0])
    expected = np.maximum(mean[:, None] + std[:, None] * draws - 0.4, 0).mean(1)
    ei = Sampler(space, SamplerConfig()).acquisition(mean, std, 0.4, rng)
    assert ei == pytest.approx(expected, rel=0.02)
    ucb = Sampler(space, SamplerConfig(acquisition="ucb", ucb_beta=3.0)).acquisition(mean, std, 0.4, rng)
    assert ucb == pytest.approx([3.0, 1.1, 5.0])
    sampler = Sampler(space, SamplerConfig(acquisition="thompson"))
    drawn = np.array([sampler.acquisition(mean, std, 0.4, rng) for _ in range(2000)])
    assert drawn.mean(0) == pytest.approx(mean, abs=0.15)
    assert drawn.std(0) == pytest.approx(std, rel=0.1)


@pytest.mark.parametrize("surrogate", [GaussianProcess(), Forest(10)], ids=["gp", "forest"])
def test_a_surrogate_is_sure_where_it_has_observations_and_of_what_is_pending(surrogate):
    rng = np.random.default_rng(0)
    x = (rng.random((60, 12)) < 0.5).astype(float)
    y = x[:, :6].sum(1) - x[:, 6:].sum(1)
    y = (y - y.mean()) / y.std()
    none = np.empty((0, 12))
    surrogate.fit(x[:40], y[:40], none, 0)
    mean, std = surrogate.predict(x[40:])
    assert np.corrcoef(mean, y[40:])[0, 1] > 0.6
    assert (std > 0).all()
    assert std.mean() > surrogate.predict(x[:40])[1].mean()
    best = int(np.argmax(mean))
    surrogate.fit(x[:40], y[:40], x[40 + best :][:1], 0)
    assert surrogate.predict(x[40:])[0][best] < mean[best]
    again = type(surrogate)() if isinstance(surrogate, GaussianProcess) else Forest(10)
    again.fit(x[:40], y[:40], none, 0)
    assert np.array_equal(again.predict(x[40:])[0], mean)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"surrogate": "svm"}, "mutator.surrogate: 'svm' is invalid (from the arguments): should be 'gp' or 'forest'"),
        ({"initial": 0}, "mutator.initial: 0 is invalid (from the arguments): should be greater than or equal to 1"),
        (
            {"candidates": 1},
            "mutator.candidates: 1 is invalid (from the arguments): should be greater than or equal to 2",
        ),
    ],
)
def test_an_invalid_option_is_one_line(search, options, message):
    with pytest.raises(ConfigError) as caught:
        search("bayes-opt", 5, mutator=options)
    assert str(caught.value) == message
