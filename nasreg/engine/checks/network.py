"""The check of supernet and networks: outputs, freezing, copying, saving, exporting. Imports torch."""

from __future__ import annotations

import importlib.util
import random
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from nasreg.config.request import ResolvedRun
from nasreg.engine.checks.findings import Findings, Level, NetworkFacts
from nasreg.engine.checks.space import example_batch
from nasreg.errors import ExportError, one_line
from nasreg.networks.build import network_of_search
from nasreg.networks.equivalence import check_close, check_equivalence, decided, seeded_output
from nasreg.networks.export import export_network
from nasreg.networks.extremes import extreme_architectures
from nasreg.networks.profile import computing
from nasreg.nn.copying import copy_module
from nasreg.nn.parameters import parameter_count
from nasreg.specs import Architecture, CellSpec, DataInfo, SearchSpaceSpec
from nasreg.tasks import get_task

RANDOM = 2
"""Random architectures that are tried beside the smallest and the largest."""

ATTEMPTS = 20
"""Random architectures among which one without a failing candidate is looked for."""

ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")


def check_network(
    run: ResolvedRun,
    space: SearchSpaceSpec,
    model: nn.Module,
    info: DataInfo,
    unusable: Collection[tuple[str, str]],
    findings: Findings,
) -> CheckedNetwork:
    """Check what can be done with a supernet and its networks, except exporting; what is wrong becomes findings.

    Args:
        run: The search.
        space: Its choices.
        model: The supernet; it is copied.
        info: Shape of the images and the classes.
        unusable: Candidates, by key of the choice and name, that are known not to work: no architecture with one is
            tried.
        findings: Where findings are added.
    """
    return _NetworkCheck(run, space, model, info, findings).run(unusable)


@dataclass(frozen=True)
class CheckedNetwork:
    """What can be done with networks."""

    facts: NetworkFacts
    architectures: Mapping[str, Architecture]
    """Title -> architecture that the supernet computes; the largest first, if it is among them."""
    networks: Mapping[str, nn.Module]
    """Title -> its network, if it can be built."""


class _NetworkCheck:
    def __init__(
        self, run: ResolvedRun, space: SearchSpaceSpec, model: nn.Module, info: DataInfo, findings: Findings
    ) -> None:
        self._run = run
        self._space = space
        self._model = model
        self._info = info
        self._findings = findings
        self._task = get_task(run.spec.task)
        self._images = example_batch(info)

    def run(self, unusable: Collection[tuple[str, str]]) -> CheckedNetwork:
        """Check everything, as far as it goes."""
        copied = self._copied()
        if copied is None:
            return CheckedNetwork(_nothing(copies=False), {}, {})
        architectures, output = self._computing(copied, dict(self._architectures(unusable)))
        if not architectures:
            return CheckedNetwork(
                NetworkFacts(output=output, freezes=None, copies=True, saves=None, exports={}), {}, {}
            )
        freezes = self._freezes(architectures)
        networks = {title: self._network(title, each) for title, each in architectures.items()}
        built = {title: network for title, network in networks.items() if network is not None}
        saves = all(self._saves(title, network) for title, network in built.items())
        facts = NetworkFacts(output=output, freezes=freezes, copies=True, saves=saves, exports={})
        return CheckedNetwork(facts, architectures, built)

    def _copied(self) -> nn.Module | None:
        # The pass over the supernet says why it cannot be copied.
        with Findings().attempt("network", "supernet", "copying it"):
            return copy_module(self._model)
        return None

    def _architectures(self, unusable: Collection[tuple[str, str]]) -> Iterator[tuple[str, Architecture]]:
        """Yield architectures to try, without a candidate that is known not to work."""
        with self._findings.attempt("network", "architectures", "finding the smallest and the largest"):
            options = self._run.spec.space.options
            extremes = extreme_architectures(self._run.space, options, self._space, self._info)
            for title, each in (("largest", extremes.largest), ("smallest", extremes.smallest)):
                if not _chosen(self._space, each) & set(unusable):
                    yield f"{title} architecture", each
        rng = random.Random(0)
        drawn = [self._space.sample(rng) for _ in range(ATTEMPTS if unusable else RANDOM)]
        whole = [each for each in drawn if not _chosen(self._space, each) & set(unusable)]
        for number, each in enumerate(whole[:RANDOM], 1):
            yield f"random architecture {number}", each

    def _computing(
        self, model: nn.Module, architectures: Mapping[str, Architecture]
    ) -> tuple[dict[str, Architecture], tuple[int, ...] | None]:
        """Return the architectures that the supernet computes in both modes, and the shape of its output."""
        shape: tuple[int, ...] | None = None
        computed: dict[str, Architecture] = {}
        for title, architecture in architectures.items():
            with (
                self._findings.attempt("network", title, "computing it"),
                decided(model, architecture),
                computing(*self._images.shape[1:]),
            ):
                for train in (True, False):
                    prediction, _ = self._task.outputs(seeded_output(model, self._images, train=train))
                    if problem := self._task.problem(prediction, len(self._images), self._info):
                        # as the pass over the supernet says it, unless it ended before
                        place = self._run.space.reference.title
                        self._findings.add("error", "space", place, f"the model {type(model).__name__} {problem}")
                shape = tuple(prediction.shape)
                computed[title] = architecture
        return computed, shape

    def _freezes(self, architectures: Mapping[str, Architecture]) -> bool:
        same = True
        # Where each architecture is trained by itself, nothing is computed by the supernet.
        level: Level = "error" if self._run.evaluator is None else "warning"
        for title, architecture in architectures.items():
            try:
                check_equivalence(copy_module(self._model), architecture, self._images)
            except AssertionError as error:
                mode, _, difference = str(error).partition(": ")
                reason = next((line for line in difference.splitlines() if "bsolute difference" in line), difference)
                self._findings.add(
                    level,
                    "network",
                    title,
                    f"in {mode} the frozen network computes something else than the supernet on its path"
                    f" ({reason.strip()}): a module must not ask whether it is in a supernet, nor share tensors with"
                    " others in place",
                )
                same = False
            except Exception as error:  # noqa: BLE001  # the model of a user
                self._findings.add("error", "network", title, f"it cannot be frozen: {one_line(error)}")
                same = False
        return same

    def _network(self, title: str, architecture: Architecture) -> nn.Module | None:
        with self._findings.attempt("network", title, "building its network"):
            return network_of_search(self._run.space, self._info, self._run.spec.space.options, architecture)
        return None

    def _saves(self, title: str, network: nn.Module) -> bool:
        """Check that weights can be saved as a retraining does, and that a copy with them computes the same."""
        others = [name for name, value in network.state_dict().items() if not isinstance(value, torch.Tensor)]
        if others:
            self._findings.add(
                "warning",
                "network",
                "weights",
                f"a retraining cannot save {', '.join(others)}, which is no tensor: keep it in a buffer, or outside of"
                " the state",
            )
            return False
        with self._findings.attempt("network", title, "saving its weights and setting them in a copy"):
            state = {name: value.detach().contiguous().clone() for name, value in network.state_dict().items()}
            read = safetensors.torch.load(safetensors.torch.save(state))
            again = copy_module(network)
            with torch.no_grad():
                for parameter in again.parameters():
                    parameter.zero_()
            again.load_state_dict(read)
            expected, found = (seeded_output(each, self._images) for each in (network, again))
            try:
                check_close(found, expected, title)
            except AssertionError:
                self._findings.add(
                    "error",
                    "network",
                    title,
                    "a copy with the same saved weights computes something else: keep everything that training changes"
                    " in parameters and buffers",
                )
                return False
            return True
        return False


def _nothing(*, copies: bool) -> NetworkFacts:
    return NetworkFacts(output=None, freezes=None, copies=copies, saves=None, exports={})


def check_exports(networks: Mapping[str, nn.Module], info: DataInfo, findings: Findings) -> dict[str, bool]:
    """Return whether the smallest of several networks can be exported, to each format that is installed.

    Args:
        networks: Title -> network.
        info: Shape of the images.
        findings: Where findings are added.
    """
    formats = ["pt2"]
    if all(importlib.util.find_spec(name) is not None for name in ONNX_PACKAGES):
        formats.append("onnx")
    title = min(networks, key=lambda each: parameter_count(networks[each]), default=None)
    if title is None:
        return {}
    return {name: _exports(title, networks[title], info, name, findings) for name in formats}


def _exports(title: str, network: nn.Module, info: DataInfo, name: str, findings: Findings) -> bool:
    with findings.attempt("network", title, f"exporting it to {name}", level="warning"):
        try:
            with tempfile.TemporaryDirectory() as folder:
                export_network(network, example_batch(info), Path(folder) / f"network.{name}", format=name)
        except ExportError as error:
            raise ExportError(f"{error}. It can be searched and trained all the same") from error
        return True
    return False


def _chosen(space: SearchSpaceSpec, architecture: Architecture) -> set[tuple[str, str]]:
    """Return the candidates that an architecture chooses, by key of the choice and name."""
    found: set[tuple[str, str]] = set()
    for choice in space.choices:
        decision: Any = architecture.decisions[choice.key]
        if isinstance(choice, CellSpec):
            found |= {(choice.key, name) for node in decision for name, _ in node}
        elif isinstance(decision, str):
            found.add((choice.key, decision))
    return found
