"""Calls every candidate of a supernet on its input there, whatever is wrong with some of them. Imports torch.

The supernet is computed once. Where it asks a choice for its candidates, each is called by itself on a copy of the
input; the pass then continues with one that works, so that what is wrong with several is found at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nasreg.errors import SpaceError, one_line
from nasreg.networks.profile import choice_answer, count_macs
from nasreg.nn import CandidateSite, Choice, candidate_sites, named_choices
from nasreg.nn.copying import copy_module
from nasreg.nn.parameters import parameter_count
from nasreg.specs import NONE, CellSpec

Output = tuple[tuple[int, ...], str]
"""Shape of an output, the batch included, and its type."""


@dataclass(frozen=True)
class CalledCandidate:
    """A candidate and what became of its call."""

    site: CandidateSite
    parameters: int
    macs: int | None = None
    """Multiply-accumulates of one image; None if it failed."""
    output: Output | None = None
    """None if it failed, or if its output is no tensor."""
    kind: str | None = None
    """Class of an output that is no tensor."""
    failure: str | None = None
    """What it raised."""
    in_place: bool = False
    """Whether it altered its input."""

    @property
    def works(self) -> bool:
        """Whether it returned something and left its input alone."""
        return self.failure is None and not self.in_place


class _AgainError(Exception):
    """A candidate of a cell has to be left out: the pass starts again."""


def call_candidates(model: nn.Module, images: Tensor, *, train: bool = True) -> list[CalledCandidate]:
    """Call each candidate of a supernet, also of several places that share a decision.

    Candidates that the supernet does not call are left out.

    Args:
        model: The supernet; it is copied.
        images: Images ``(B, C, H, W)``, two at least.
        train: Whether to compute in training mode.

    Raises:
        SpaceError: No candidate of a choice works, or choices contradict each other.
        Exception: Anything that the model raises outside of its choices.
    """
    model = copy_module(model).train(train)
    prober = _Prober(model, len(images))
    with torch.no_grad(), prober.hooks():
        while True:
            try:
                model(images.clone())
                break
            except _AgainError:
                continue
    return list(prober.found.values())


class _Prober:
    def __init__(self, model: nn.Module, batch: int) -> None:
        self.found: dict[str, CalledCandidate] = {}
        """Path of a candidate -> what became of its first call."""
        self._model = model
        self._batch = batch
        self._calling = False
        """Whether a candidate is called by this object, and not by the model."""
        self._excluded: set[str] = set()
        """Paths of candidates of cells that do not work."""
        self._node_outputs: dict[tuple[str, int | None], Output] = {}
        """Cell and node -> the output of the first candidate on an edge into it."""
        self._choices: dict[str, Choice] = {path: choice for _, path, choice, _ in named_choices(model)}

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Answer the choices, and call candidates before they are asked."""
        layers: dict[str, list[tuple[CandidateSite, nn.Module]]] = {}
        handles = []
        for site, candidate in candidate_sites(self._model):
            if site.edge is None:
                layers.setdefault(site.choice_path, []).append((site, candidate))
            else:
                hook: Callable[..., None] = partial(self._before_edge, site)
                handles.append(candidate.register_forward_pre_hook(hook, with_kwargs=True))
        for path, choice in self._choices.items():
            spec = choice.spec("choice", ())
            if isinstance(spec, CellSpec):
                choice.bind(partial(self._cell_answer, path, spec))
            elif path not in layers:
                choice.bind(partial(choice_answer, choice, torch.device("cpu")))
        for path, candidates in layers.items():
            hook = partial(self._before_layer, self._choices[path], candidates)
            handles.append(self._choices[path].register_forward_pre_hook(hook, with_kwargs=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _before_layer(
        self,
        choice: Choice,
        candidates: list[tuple[CandidateSite, nn.Module]],
        module: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        del module
        called = [self._call(site, candidate, args, kwargs) for site, candidate in candidates]
        working = [each for each in called if each.works] or [each for each in called if each.failure is None]
        if not working:
            raise SpaceError(f"no candidate of choice {candidates[0][0].key!r} works: {called[0].failure}")
        usual = usual_output(working)
        answer = next((each for each in working if each.output == usual), working[0]).site.candidate
        choice.bind(lambda: answer)

    def _before_edge(
        self, site: CandidateSite, candidate: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if self._calling or (site.path in self.found and site.path not in self._excluded):
            return
        called = self._call(site, candidate, args, kwargs)
        expected = (
            None
            if called.output is None
            else self._node_outputs.setdefault((site.choice_path, site.node), called.output)
        )
        if not called.works or called.output is None or called.output != expected:
            self._excluded.add(site.path)
            raise _AgainError

    def _cell_answer(self, path: str, spec: CellSpec) -> list[Mapping[str, Tensor]]:
        choice: Any = self._choices[path]
        one = torch.ones(())
        sites = {(site.edge, site.candidate): site.path for site, _ in choice.candidate_modules(path, path)}
        return [
            {name: one for name in names if name != NONE and sites[edge, name] not in self._excluded} or {NONE: one}
            for edge, names in enumerate(spec.candidates)
        ]

    def _call(
        self, site: CandidateSite, candidate: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> CalledCandidate:
        inputs = [each.clone() if isinstance(each, Tensor) else each for each in args]
        named = {name: each.clone() if isinstance(each, Tensor) else each for name, each in kwargs.items()}
        tensors = [each for each in (*inputs, *named.values()) if isinstance(each, Tensor)]
        before = [tensor._version for tensor in tensors]
        called = CalledCandidate(site, parameter_count(candidate))
        outputs: list[Any] = []
        self._calling = True
        try:
            macs = count_macs(lambda: outputs.append(candidate(*inputs, **named))) // self._batch
        except Exception as error:  # noqa: BLE001  # the candidate of a user: what it raises is what is looked for
            called = replace(called, failure=one_line(error))
        else:
            output = outputs[0]
            if isinstance(output, Tensor):
                called = replace(called, output=(tuple(output.shape), str(output.dtype).removeprefix("torch.")))
            else:
                called = replace(called, kind=type(output).__name__)
            changed = before != [tensor._version for tensor in tensors]
            called = replace(called, macs=macs, in_place=changed)
        finally:
            self._calling = False
        return self.found.setdefault(site.path, called)


def usual_output(called: list[CalledCandidate]) -> Output | None:
    """Return the output that most candidates of a choice have, the first of equally frequent ones."""
    counts = Counter(each.output for each in called if each.output is not None)
    return counts.most_common(1)[0][0] if counts else None
