"""Edit distances and the Gaussian process against figures of Auto-Keras' program (see golden/README.md)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nasreg_morphism.distance import Descriptor, Layer, SkipConnection, edit_distance, layers_distance, skips_distance
from nasreg_morphism.gaussian_process import EmbeddingProcess, ProgramProcess, embed, landmarks

GOLDEN = json.loads((Path(__file__).parent / "golden" / "morphism.json").read_text())
SIZES = {"Conv2d": ("filters", "kernel_size", "stride"), "Pooling2d": ("padding", "kernel_size", "stride")}
NETWORKS = [
    Descriptor(
        tuple(Layer(each["type"], tuple(each[name] for name in SIZES.get(each["type"], ()))) for each in layers),
        tuple(SkipConnection(*skip) for skip in skips),
    )
    for layers, skips in ((network["layers"], network["skips"]) for network in GOLDEN["descriptors"])
]


def test_distances_are_those_of_the_program():
    for pair in GOLDEN["pairs"]:
        one, other = NETWORKS[pair["a"]], NETWORKS[pair["b"]]
        assert layers_distance(one.layers, other.layers) == pytest.approx(pair["layers_distance"], abs=1e-12)
        assert skips_distance(one.skips, other.skips) == pytest.approx(pair["skip_distance"], abs=1e-12)
        assert edit_distance(one, other) == pytest.approx(pair["edit_distance"], abs=1e-12)
        assert edit_distance(one, other) == edit_distance(other, one)


@pytest.mark.parametrize("run", GOLDEN["gp"], ids=range(len(GOLDEN["gp"])))
def test_the_process_is_that_of_the_program(run):
    networks = [NETWORKS[index] for index in run["index"]]
    first, trained = run["n_first"], run["n_first"] + run["n_incremental"]
    process = ProgramProcess(GOLDEN["alpha"], GOLDEN["kernel_lambda"])
    for known, after in ((slice(first), "after_first_fit"), (slice(first, trained), "after_incremental_fit")):
        if (expected := run.get(after)) is None:
            continue
        process.fit(networks[known], run["y"][known])
        assert len(process.known) == expected["n_in_model"]
        np.testing.assert_allclose(process.distances, expected["distance_matrix"], atol=1e-12)
        if "embedding" in expected and len(process.known) > 1:
            found = embed(process.distances, landmarks(len(process.known)))
            np.testing.assert_allclose(found, expected["embedding"], atol=1e-12)
        tolerance = max(1e-9, 1e-14 * expected["cond"])
        scale = np.abs(expected["alpha_vector"]).max()
        mean, deviation = process.predict(networks[trained:])
        np.testing.assert_allclose(process.factor, expected["l_matrix"], atol=tolerance)
        np.testing.assert_allclose(process.weights, expected["alpha_vector"], atol=tolerance * scale)
        np.testing.assert_allclose(mean, expected["mean"], atol=tolerance * scale)
        np.testing.assert_allclose(deviation, expected["std"], atol=tolerance * scale)
        upper = mean + GOLDEN["beta"] * deviation
        np.testing.assert_allclose(upper, expected["ucb_maximize"], atol=10 * tolerance * scale)


def test_the_consistent_process_knows_its_networks():
    networks = [NETWORKS[index] for index in (0, 5, 9, 14, 20, 30)]
    process, scores = EmbeddingProcess(noise=1e-8), [0.5, 0.7, 0.6, 0.9, 0.8, 0.4]
    assert process.fit(networks[:2], scores[:2])
    assert process.fit(networks[2:], scores[2:])
    mean, deviation = process.predict(networks)
    np.testing.assert_allclose(mean, process.scaled(np.array(scores)), atol=1e-4)
    assert deviation.max() < 1e-3
    _, unknown = process.predict([NETWORKS[35]])
    assert unknown[0] > 0.1


def test_a_process_of_equal_networks_that_cannot_be_fitted_stays_as_it_was():
    process = ProgramProcess(noise=1e-300)
    assert process.fit([NETWORKS[0], NETWORKS[20]], [0.5, 0.6])
    assert not process.fit([NETWORKS[0]], [0.5])
    assert len(process.known) == len(process.scores) == 2
    process.predict([NETWORKS[1]])
