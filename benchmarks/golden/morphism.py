"""Network morphism: edit distances and Gaussian processes of Auto-Keras' program (the tuner of NNI).

The README beside the file in ``plugins/morphism/tests/golden`` says what is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import ConfigDict, Field

from golden_files import Check, FileError, Strict, differing, parsed

if TYPE_CHECKING:
    from nasreg_morphism.distance import Descriptor
    from nasreg_morphism.gaussian_process import ProgramProcess

EXACT = 1e-12
TOLERANCE = 1e-9
PER_CONDITION = 1e-14
"""Of the condition number of the kernel: how much rounding may change what is solved for."""

Size = Annotated[int, Field(ge=0)]
Vector = list[float]
Matrix = list[list[float]]


class LayerForm(Strict):
    """A layer; which sizes it has depends on its type."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)
    type: str
    filters: Size | None = None
    kernel_size: Size | None = None
    stride: Size | None = None
    padding: Size | None = None


class Network(Strict):
    """A network."""

    layers: list[LayerForm]
    skips: list[tuple[Size, Size, Literal["add", "concat"]]]


class Pair(Strict):
    """Distances of two networks."""

    a: Size
    b: Size
    layers_distance: float
    skip_distance: float
    edit_distance: float


class Fit(Strict):
    """What a process computes after a fit."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)
    distance_matrix: Matrix
    subsets: list[list[Size]] | None = None
    embedding: Matrix | None = None
    kernel_from_embedding: Matrix
    l_matrix: Matrix
    alpha_vector: Vector
    cond: float
    test_cross_distance: Matrix
    mean: Vector
    std: Vector
    ucb_maximize: Vector
    lcb_minimize: Vector
    n_in_model: Size


class Run(Strict):
    """A run of the process."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)
    index: list[Size]
    n_first: Annotated[int, Field(ge=1)]
    n_incremental: Size
    n_test: Size
    y: Vector
    after_first_fit: Fit
    after_incremental_fit: Fit | None = None
    incremental_refused_by_LinAlgError: bool = False  # noqa: N815  # as in the file


class Morphism(Strict):
    """``morphism.json``."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)
    descriptors: Annotated[list[Network], Field(min_length=1)]
    pairs: list[Pair]
    kernel_lambda: float
    alpha: Annotated[float, Field(gt=0)]
    beta: float
    gp: list[Run]


def recognises(content: Any) -> bool:
    """Return whether a file is in this format."""
    return isinstance(content, dict) and {"descriptors", "pairs", "gp"} <= content.keys()


def checks(content: Any, path: Path) -> Iterator[Check]:
    """Compare nasreg with a file.

    Raises:
        FileError: Something in it is missing or malformed.
    """
    del path
    form: Morphism = parsed(Morphism, content)
    from nasreg_morphism.distance import edit_distance, layers_distance, skips_distance

    networks = [_descriptor(network, f"descriptors.{number}") for number, network in enumerate(form.descriptors)]
    for number, pair in enumerate(form.pairs):
        one, other = (_at(networks, index, f"pairs.{number}") for index in (pair.a, pair.b))
        ours = {
            "layers_distance": layers_distance(one.layers, other.layers),
            "skip_distance": skips_distance(one.skips, other.skips),
            "edit_distance": edit_distance(one, other, form.kernel_lambda),
        }
        for name, value in ours.items():
            yield Check(f"pairs[{number}].{name}", _error(value, getattr(pair, name)), EXACT)
    for number, run in enumerate(form.gp):
        yield from _process(run, networks, form, f"gp[{number}]")


def _descriptor(network: Network, place: str) -> Descriptor:
    from nasreg_morphism.distance import Descriptor, Layer, SkipConnection

    def layer(form: LayerForm, number: int) -> Layer:
        sizes: tuple[int | None, ...] = ()
        if form.type.startswith("Conv"):
            sizes = (form.filters, form.kernel_size, form.stride)
        elif form.type.startswith("Pooling"):
            sizes = (form.padding, form.kernel_size, form.stride)
        if None in sizes:
            raise FileError(f"{place}.layers.{number} of type {form.type} lacks a size")
        return Layer(form.type, tuple(float(size or 0) for size in sizes))

    layers = tuple(layer(form, number) for number, form in enumerate(network.layers))
    return Descriptor(layers, tuple(SkipConnection(*skip) for skip in network.skips))


def _at(networks: Sequence[Descriptor], index: int, place: str) -> Descriptor:
    if index >= len(networks):
        raise FileError(f"{place} names network {index}, but there are {len(networks)}")
    return networks[index]


def _process(run: Run, networks: Sequence[Descriptor], form: Morphism, place: str) -> Iterator[Check]:
    """Compare a run of the process, fit by fit."""
    from nasreg_morphism.gaussian_process import ProgramProcess

    trained = run.n_first + run.n_incremental
    if len(run.index) != trained + run.n_test or len(run.y) != trained:
        raise FileError(f"{place} has {len(run.index)} networks and {len(run.y)} scores, expected other numbers")
    chosen = [_at(networks, index, place) for index in run.index]
    process = ProgramProcess(form.alpha, form.kernel_lambda)
    process.fit(chosen[: run.n_first], run.y[: run.n_first])
    yield from _fit(process, run.after_first_fit, chosen[trained:], form.beta, f"{place}.after_first_fit")
    if run.after_incremental_fit is None:
        return
    added = process.fit(chosen[run.n_first : trained], run.y[run.n_first :])
    if run.incremental_refused_by_LinAlgError and added:
        # rounding decides whether such a kernel is positive definite
        smallest = float(np.linalg.eigvalsh(process.factor @ process.factor.T).min())
        yield Check(f"{place}.incremental_refused: smallest eigenvalue", max(smallest, 0.0), TOLERANCE)
        return
    yield Check(f"{place}.incremental_refused", int(added == run.incremental_refused_by_LinAlgError), 0)
    yield from _fit(process, run.after_incremental_fit, chosen[trained:], form.beta, f"{place}.after_incremental_fit")


def _fit(process: ProgramProcess, theirs: Fit, tests: Sequence[Descriptor], beta: float, place: str) -> Iterator[Check]:
    """Compare what a process computes after a fit."""
    from nasreg_morphism.distance import distances
    from nasreg_morphism.gaussian_process import embed, landmarks, rbf

    known = len(process.known)
    yield Check(f"{place}.n_in_model", abs(known - theirs.n_in_model), 0)
    yield Check(f"{place}.distance_matrix", _error(process.distances, theirs.distance_matrix), EXACT)
    kernel = process.distances
    if known > 1:
        sets = landmarks(known)
        embedding = embed(process.distances, sets)
        kernel = rbf(embedding, embedding)
        if theirs.subsets is not None:
            yield Check(f"{place}.subsets", differing([each.tolist() for each in sets], theirs.subsets), 0)
        if theirs.embedding is not None:
            yield Check(f"{place}.embedding", _error(embedding, theirs.embedding), EXACT)
    yield Check(f"{place}.kernel_from_embedding", _error(kernel, theirs.kernel_from_embedding), EXACT)
    across = distances(tests, process.known, process.skip_weight)
    yield Check(f"{place}.test_cross_distance", _error(across, theirs.test_cross_distance), EXACT)
    tolerance = max(TOLERANCE, PER_CONDITION * theirs.cond)
    mean, deviation = process.predict(tests)
    scale = max(map(abs, theirs.alpha_vector), default=1.0) or 1.0
    yield Check(f"{place}.l_matrix", _error(process.factor, theirs.l_matrix), tolerance)
    ours = {
        "alpha_vector": process.weights,
        "mean": mean,
        "std": deviation,
        "ucb_maximize": mean + beta * deviation,
        "lcb_minimize": mean - beta * deviation,
    }
    for name, value in ours.items():
        yield Check(f"{place}.{name}", _error(value, getattr(theirs, name)) / scale, tolerance)


def _error(ours: Any, theirs: Any) -> float:
    """Return the largest difference; infinite where the shapes differ."""
    one, other = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    if one.shape != other.shape:
        return float("inf")
    return float(np.abs(one - other).max(initial=0.0))
