"""One pass over every candidate of a search space before the first step: what would fail later, named beforehand.

The supernet computes two images of noise in training mode, forwards and backwards, several times: each candidate is
computed with the input that it gets in the model, and its output is compared with that of the others; then each value
and each depth is decided once. The last pass is one in evaluation mode. Imports torch.
"""

from __future__ import annotations

import io
import random
import traceback
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice, zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from nasreg.config.sources import SpaceSource
from nasreg.errors import NasregError, SpaceError, one_line
from nasreg.nn import CellWeights, Choice, extract_space, named_choices, set_execution
from nasreg.nn.copying import copy_module
from nasreg.nn.execution import PLAIN
from nasreg.specs import (
    AnyChoiceSpec,
    CellSpec,
    DataInfo,
    Decision,
    InputChoiceSpec,
    LayerChoiceSpec,
    RepeatSpec,
    SearchSpaceSpec,
    ValueChoiceSpec,
)
from nasreg.tasks.base import Task
from nasreg.trainers.device import is_out_of_memory
from nasreg.trainers.functional import set_training_mode

BATCH = 2
MAX_PASSES = 64
"""Of other decisions than those of the first pass, one pass each."""
MAX_SHOWN = 3
"""Decisions that are named in a finding."""


def check_supernet(
    source: SpaceSource,
    options: Mapping[str, Any],
    info: DataInfo,
    task: Task,
    device: torch.device | None = None,
    *,
    weighted: bool = True,
) -> None:
    """Check the model of a search space before anything is trained; takes what ``supernet_findings`` does.

    Raises:
        SpaceError: There is a finding; the message counts any others.
    """
    _raise_first(supernet_findings(source, options, info, task, device, weighted=weighted))


def check_network(network: nn.Module, info: DataInfo, task: Task, device: torch.device | None = None) -> None:
    """Check a network without choices before it is trained.

    Args:
        network: The network; its weights stay the same, its statistics may change.
        info: Shape of the images and the classes.
        task: The task, whose predictions the network returns.
        device: The device to compute on; the CPU where None.

    Raises:
        SpaceError: It cannot compute such images, or its output does not fit the task.
    """
    _raise_first(_Pass(network, info, task, device or torch.device("cpu")).findings_of_network())


def supernet_findings(
    source: SpaceSource,
    options: Mapping[str, Any],
    info: DataInfo,
    task: Task,
    device: torch.device | None = None,
    *,
    weighted: bool = True,
) -> Iterator[str]:
    """Yield everything that would make a search of this space fail or its result mean something else, a line each.

    Args:
        source: The search space.
        options: Its options.
        info: Shape of the images and the classes.
        task: The task, whose predictions the model returns.
        device: The device to compute on; the CPU where None.
        weighted: Whether the algorithm computes weighted sums of candidates, as one-shot algorithms may.

    Raises:
        NasregError: As ``SpaceSource.build``, or the space has no choice.
    """
    device = device or torch.device("cpu")
    devices = [device] if device.type != "cpu" else []
    with torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"):
        torch.manual_seed(0)
        model = source.build(info, options)
        try:
            copied = copy_module(model)
        except Exception as error:  # noqa: BLE001  # any object of the user may be in the model
            yield f"the model {type(model).__name__} cannot be copied, which freezing it needs: {one_line(error)}"
            return
        if not source.builds_anew:
            model = copied
        del copied
        yield from _Pass(model, info, task, device).findings_of_supernet(weighted=weighted)


def _raise_first(findings: Iterator[str]) -> None:
    found = list(findings)
    if found:
        rest = f" (and {len(found) - 1} more of this kind: nasreg check lists them)" if len(found) > 1 else ""
        raise SpaceError(found[0] + rest)


class _Pass:
    """The passes of one model.

    Args:
        model: The model.
        info: Shape of the images and the classes.
        task: The task.
        device: The device to compute on.
    """

    def __init__(self, model: nn.Module, info: DataInfo, task: Task, device: torch.device) -> None:
        self.model = model
        self.info = info
        self.task = task
        self.device = device
        generator = torch.Generator().manual_seed(0)
        shape = (BATCH, info.channels, info.height, info.width)
        self.images = torch.randn(shape, generator=generator).to(device)
        self.targets = (torch.arange(BATCH) % info.n_classes).to(device)
        self.decisions: dict[str, Decision] = {}
        self.sizes: list[str] = []
        """Keys of the choices of values and depths."""
        self.found: dict[str, None] = {}
        """Findings so far, each once."""
        self.candidates: list[str] = []
        """The candidates that are being computed, the innermost last."""
        self.aliasing: dict[str, dict[Decision, None]] = {}
        """Key of a choice -> the decisions whose output shares memory with an input."""
        self.new_outputs = True
        """Whether the output of each choice is copied, as a weighted sum is a tensor of its own."""

    def findings_of_network(self) -> Iterator[str]:
        """Yield what is wrong with a model without choices."""
        self.model.to(self.device)
        if self._attempt() is not None:
            self._evaluate()
        self._check_saving()
        yield from self.found

    def findings_of_supernet(self, *, weighted: bool) -> Iterator[str]:
        """Yield what is wrong with a model with choices."""
        space = extract_space(self.model)
        self.decisions = _first_decisions(space)
        self.sizes = [each.key for each in space.choices if isinstance(each, ValueChoiceSpec | RepeatSpec)]
        self.model.to(self.device)
        set_execution(self.model, PLAIN)
        places = {choice: (key, path) for key, path, choice, _ in named_choices(self.model)}
        for choice, (key, path) in places.items():
            choice.bind(partial(self.decisions.__getitem__, key))
            self._watch(key, path, choice, space[key])
        if self._attempt() is not None:
            self._evaluate()
            for key, decision in islice(_alternatives(space, self.decisions), MAX_PASSES):
                self._attempt_with({key: decision})
            self._check_aliases(weighted=weighted)
        self._check_saving()
        yield from self.found

    # -- passes --------------------------------------------------------------------------------------------------------

    def _attempt_with(self, changed: Mapping[str, Decision]) -> Tensor | None:
        """Compute one pass with some other decisions; returns what ``_attempt`` does."""
        before = dict(self.decisions)
        self.decisions.update(changed)
        prediction = self._attempt(changed)
        self.decisions.update(before)
        return prediction

    def _attempt(self, changed: Mapping[str, Decision] = MappingProxyType({})) -> Tensor | None:
        """Compute one pass forwards and backwards; return the prediction, or None after a finding.

        Args:
            changed: Decisions that differ from those of the first pass.
        """
        found = len(self.found)
        torch.manual_seed(0)
        set_training_mode(self.model)
        try:
            prediction = self._predict()
            loss = self.task.loss(prediction, self.targets)
            if loss.requires_grad:
                torch.autograd.backward(loss)
            else:
                self.found[
                    f"the model {type(self.model).__name__} cannot be trained: its output depends on no parameter that"
                    " requires a gradient"
                ] = None
        except Exception as error:  # noqa: BLE001  # it is the user's code
            self._failed(error, self._named(changed), found)
        self.model.zero_grad()
        return prediction.detach() if len(self.found) == found else None

    def _evaluate(self) -> None:
        """Compute one pass in evaluation mode."""
        found = len(self.found)
        self.model.eval()
        try:
            with torch.no_grad():
                self._predict()
        except Exception as error:  # noqa: BLE001  # it is the user's code
            self._failed(error, "in evaluation mode", found)

    def _predict(self) -> Tensor:
        self.candidates.clear()
        output = self.model(self.images.clone())
        prediction, _ = self.task.outputs(output)
        if problem := self.task.problem(prediction, BATCH, self.info):
            raise SpaceError(f"the model {type(self.model).__name__} {problem}")
        return prediction

    def _named(self, changed: Mapping[str, Decision]) -> str:
        """Return the decisions that matter for a pass: those that differ, or else the values and depths."""
        shown = changed or {key: self.decisions[key] for key in self.sizes}
        named = [f"{key!r} = {_text(decision)}" for key, decision in islice(shown.items(), MAX_SHOWN)]
        return f"with {', '.join(named)}{', ...' if len(shown) > MAX_SHOWN else ''}" if named else ""

    def _failed(self, error: Exception, where: str, found: int) -> None:
        """Add a finding for an error of a pass, unless it follows from one that the pass had found before."""
        if is_out_of_memory(error):
            raise error
        if len(self.found) == found:
            self._add(error, where)

    def _add(self, error: Exception, where: str = "") -> None:
        at = f" {where}" if where else ""
        if isinstance(error, NasregError):
            text = f"{error}{at and f' ({where})'}"
        elif self.candidates:
            text = f"{self.candidates[-1]} fails{at}: {_located(error)}"
        else:
            images = "x".join(map(str, self.images.shape[1:]))
            text = f"the model {type(self.model).__name__} fails on images of {images}{at}: {_located(error)}"
        self.found[text] = None

    # -- choices -------------------------------------------------------------------------------------------------------

    def _watch(self, key: str, path: str, choice: Choice, spec: AnyChoiceSpec) -> None:
        """Compute every candidate wherever a choice is called, and name the candidate in which something fails."""
        for site, modules in choice.candidate_modules(key, path):
            edge = "" if site.node is None else f" on the edge from state {site.source} to node {site.node}"
            name = f"{type(choice).__name__} {key!r}: candidate {site.candidate!r}{edge}"
            candidate = modules[site.candidate]
            candidate.register_forward_pre_hook(partial(self._enter, name))
            candidate.register_forward_hook(self._leave)
        if choice.has_candidates:
            choice.register_forward_pre_hook(partial(self._before, spec), with_kwargs=True)
            choice.register_forward_hook(partial(self._after, key), with_kwargs=True)

    def _enter(self, name: str, *_: Any) -> None:
        self.candidates.append(name)

    def _leave(self, *_: Any) -> None:
        self.candidates.pop()

    def _before(self, spec: AnyChoiceSpec, choice: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Compute all candidates of a choice that is called, before the one that is decided."""
        if isinstance(spec, LayerChoiceSpec):
            self._compute_candidates(cast("Choice", choice), spec, args, kwargs)
        elif isinstance(spec, CellSpec) and not spec.loose_ends:  # with all candidates every state is read
            one = torch.ones((), device=self.device)
            weights = CellWeights([dict.fromkeys(names, one) for names in spec.candidates])
            copied = _copied((args, kwargs))
            cast("Choice", choice).compute(weights, *copied[0], **copied[1])

    def _after(self, key: str, choice: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        """Return a copy of a choice's output in passes with new outputs."""
        del choice
        if _share_memory((args, kwargs), output):
            self.aliasing.setdefault(key, {})[self.decisions[key]] = None
        return _copied(output) if self.new_outputs else None

    def _compute_candidates(
        self, choice: Choice, spec: LayerChoiceSpec, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Compute each candidate of a layer choice on copies of its inputs, and compare the outputs."""
        depth = len(self.candidates)
        outputs: dict[str, _Kind] = {}
        for name in spec.candidates:
            copied = _copied((args, kwargs))
            try:
                output = choice.compute(name, *copied[0], **copied[1])
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                self._add(error)
                del self.candidates[depth:]
                continue
            if _share_memory(copied, output):
                self.aliasing.setdefault(spec.key, {})[name] = None
            outputs[name] = _Kind.of(output)
        for name, kind in outputs.items():
            first, expected = next(iter(outputs.items()))
            if kind != expected:
                self.found[
                    f"{choice.label}: all candidates must return the same shape and type, but {first!r} returns"
                    f" {expected} and {name!r} returns {kind}"
                ] = None
        if outputs and self.decisions[spec.key] not in outputs:  # what comes after the choice is checked, too
            self.decisions[spec.key] = next(iter(outputs))

    def _check_aliases(self, *, weighted: bool) -> None:
        """Compute passes in which choices pass on an input, and the model may alter it in place as their output.

        A weighted sum is a tensor of its own. The frozen network passes the input on, and would compute something else
        if the model reads it once more.
        """
        rounds = zip_longest(*([(key, each) for each in decisions] for key, decisions in self.aliasing.items()))
        for together in islice(rounds, MAX_PASSES):
            changed = dict(filter(None, together))
            if self._computes_something_else(changed, weighted=weighted):
                alone = {key: value for key, value in changed.items() if self._computes_something_else({key: value})}
                for key, decision in (alone or changed).items():
                    self.found[
                        f"choice {key!r}: the model alters its output in place, which with {_text(decision)} is one of"
                        " its inputs, and reads that input again: the frozen network would compute something else than"
                        " the supernet. Make what follows work on a new tensor, for example with"
                        " nn.ReLU(inplace=False)"
                    ] = None

    def _computes_something_else(self, changed: Mapping[str, Decision], *, weighted: bool = True) -> bool:
        """Return whether the prediction depends on that choices pass on an input, and not a copy of it."""
        self.new_outputs = False
        passed_on = self._attempt_with(changed)
        self.new_outputs = True
        if passed_on is None or not weighted:
            return False
        first, again = self._attempt_with(changed), self._attempt_with(changed)
        return _differ(first, passed_on) and not _differ(first, again)  # else it is random

    def _check_saving(self) -> None:
        """Check that a checkpoint can hold the model."""
        state = self.model.state_dict()
        others = {name: value for name, value in state.items() if not isinstance(value, Tensor)}
        if not others:
            return
        for name, value in others.items():
            file = io.BytesIO()
            try:
                torch.save(value, file)
                file.seek(0)
                torch.load(file, weights_only=True)
            except Exception as error:  # noqa: BLE001  # anything may be in it
                text = (str(error).strip() or type(error).__name__).splitlines()[0]
                self.found[
                    f"the model {type(self.model).__name__} cannot be saved: {name!r} holds a"
                    f" {type(value).__name__} that torch.load(weights_only=True) does not read ({text}): keep tensors,"
                    " numbers, text, lists and mappings of those in it"
                ] = None


def _first_decisions(space: SearchSpaceSpec) -> dict[str, Decision]:
    """Return decisions by key of an architecture that computes as much as possible."""
    decisions: dict[str, Decision] = dict(space.sample(random.Random(0)).decisions)
    for choice in space.choices:
        if isinstance(choice, RepeatSpec):
            decisions[choice.key] = choice.depths[-1]
        elif isinstance(choice, LayerChoiceSpec):
            decisions[choice.key] = choice.candidates[0]
        elif isinstance(choice, ValueChoiceSpec):
            decisions[choice.key] = choice.values[0]
        elif isinstance(choice, InputChoiceSpec):
            decisions[choice.key] = choice.candidates[: choice.n_chosen]
    return decisions


def _alternatives(space: SearchSpaceSpec, decisions: Mapping[str, Decision]) -> Iterator[tuple[str, Decision]]:
    """Yield the key and the decision of each value, depth and number of inputs that the first pass does not have."""
    for choice in space.choices:
        domain: Iterable[Decision] = ()
        if isinstance(choice, ValueChoiceSpec):
            domain = choice.values
        elif isinstance(choice, RepeatSpec):
            domain = choice.depths
        elif isinstance(choice, InputChoiceSpec):
            names, n = choice.candidates, choice.n_chosen
            if n is None:
                domain = [names[:number] for number in range(choice.min_chosen, len(names) + 1)]
            else:
                domain = [names[start : start + n] for start in range(len(names) - n + 1)]
        yield from ((choice.key, decision) for decision in domain if decision != decisions[choice.key])


class _Kind(NamedTuple):
    """What the outputs of all candidates must have in common."""

    structure: str
    leaves: tuple[str, ...]

    @classmethod
    def of(cls, output: Any) -> _Kind:
        """Return the kind of an output."""
        leaves, structure = pytree.tree_flatten(output)
        texts = (
            f"{tuple(leaf.shape)} of {str(leaf.dtype).removeprefix('torch.')}"
            if isinstance(leaf, Tensor)
            else type(leaf).__name__
            for leaf in leaves
        )
        return cls("" if isinstance(output, Tensor) else str(structure), tuple(texts))

    def __str__(self) -> str:
        if not self.structure:
            return self.leaves[0]
        return f"{len(self.leaves)} values ({', '.join(self.leaves)})"


def _text(decision: Decision) -> str:
    return ", ".join(map(str, decision)) if isinstance(decision, tuple) else repr(decision)


def _copied(value: Any) -> Any:
    return pytree.tree_map_only(Tensor, Tensor.clone, value)


def _share_memory(inputs: Any, output: Any) -> bool:
    """Return whether a tensor of the output is one of the inputs, or a view of one."""

    def places(value: Any) -> set[int]:
        return {
            each.untyped_storage().data_ptr()
            for each in pytree.tree_leaves(value)
            if isinstance(each, Tensor) and each.numel()
        }

    return bool(places(inputs) & places(output))


def _differ(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return False
    return not torch.allclose(one, other, rtol=1e-4, atol=1e-6, equal_nan=True)


def _located(error: Exception) -> str:
    """Return an error in one line, with the line of the user's code in which it arose."""
    ours = (str(Path(torch.__file__).parent), str(Path(__file__).parent.parent))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(ours)]
    at = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return one_line(error) + at
