"""The passes of a dry run: a model computes noise with each of its candidates, and what fails becomes a finding.

``nasreg.networks.dry_run`` makes the model and says what follows from the findings. Imports torch.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice, zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from nasreg.errors import CheckpointError, NasregError, SpaceError, one_line
from nasreg.networks.dry_run_decisions import Kind, alternatives, first_decisions, last_decisions
from nasreg.nn import CellWeights, Choice, extract_space, named_choices, set_execution
from nasreg.nn.execution import PLAIN
from nasreg.runs.safe_state import check_state
from nasreg.specs import (
    AnyChoiceSpec,
    CellSpec,
    DataInfo,
    Decision,
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


class Finding(NamedTuple):
    """Something that would make a search fail or its result mean something else."""

    text: str
    """The choice and the candidate, what is wrong and what to do, in one line."""
    one_decision: bool
    """Whether architectures with other decisions are not affected."""


class DryRun:
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
        self.found: dict[str, bool] = {}
        """Text of each finding so far, and whether other decisions are not affected."""
        self.candidates: list[str] = []
        """The candidates that are being computed, the innermost last."""
        self.aliasing: dict[str, dict[Decision, None]] = {}
        """Key of a choice -> the decisions whose output shares memory with an input."""
        self.auxiliary = 0
        """Number of auxiliary outputs in training mode."""
        self.new_outputs = True
        """Whether the output of each choice is copied, as a weighted sum is a tensor of its own."""

    def findings_of_network(self) -> Iterator[Finding]:
        """Yield what is wrong with a model without choices."""
        self.model.to(self.device)
        if self._attempt() is not None:
            self._evaluate()
        self._check_saving()
        yield from map(Finding, self.found, self.found.values())

    def findings_of_supernet(self, *, weighted: bool) -> Iterator[Finding]:
        """Yield what is wrong with a model with choices."""
        space = extract_space(self.model)
        self.decisions = first_decisions(space)
        self.sizes = [each.key for each in space.choices if isinstance(each, ValueChoiceSpec | RepeatSpec)]
        self.model.to(self.device)
        set_execution(self.model, PLAIN)
        places = {choice: (key, path) for key, path, choice, _ in named_choices(self.model)}
        for choice, (key, path) in places.items():
            choice.bind(partial(self.decisions.__getitem__, key))
            self._watch(key, path, choice, space[key])
        if self._begin(space, weighted=weighted):
            self._evaluate()
            for key, decision in islice(alternatives(space, self.decisions), MAX_PASSES):
                self._attempt_with({key: decision})
            self._check_aliases(weighted=weighted)
        self._check_saving()
        yield from map(Finding, self.found, self.found.values())

    def _begin(self, space: SearchSpaceSpec, *, weighted: bool) -> bool:
        """Compute passes until one has no new finding; return whether there is one."""
        if self._attempt() is not None or weighted:
            return not self.found
        if self._attempt() is not None:  # with candidates that do not fail
            return True
        failed = [text for text, one_decision in self.found.items() if not one_decision]
        self.decisions.update(last_decisions(space))
        if not self.sizes or self._attempt() is None:
            return False
        self.found.update(dict.fromkeys(failed, True))
        return True

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
                ] = False
        except Exception as error:  # noqa: BLE001  # it is the user's code
            self._failed(error, self._named(changed), found, one_decision=bool(changed))
            return None
        finally:
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
        prediction, auxiliary = self.task.outputs(output)
        if self.model.training:
            self.auxiliary = len(auxiliary)
        if problem := self.task.problem(prediction, BATCH, self.info):
            raise SpaceError(f"the model {type(self.model).__name__} {problem}")
        return prediction

    def _named(self, changed: Mapping[str, Decision]) -> str:
        """Return the decisions that matter for a pass: those that differ, or else the values and depths."""
        shown = changed or {key: self.decisions[key] for key in self.sizes}
        named = [f"{key!r} = {_text(decision)}" for key, decision in islice(shown.items(), MAX_SHOWN)]
        return f"with {', '.join(named)}{', ...' if len(shown) > MAX_SHOWN else ''}" if named else ""

    def _failed(self, error: Exception, where: str, found: int, *, one_decision: bool = False) -> None:
        """Add a finding for an error of a pass, unless it follows from one that the pass had found before."""
        if is_out_of_memory(error):
            raise SpaceError(
                f"the model {type(self.model).__name__} needs more memory than there is on {self.device} with {BATCH}"
                " images: make it smaller, or choose another device"
            ) from error
        if len(self.found) == found:
            self._add(error, where, one_decision=one_decision)

    def _add(self, error: Exception, where: str = "", *, one_decision: bool = False) -> str:
        """Add a finding for an error, and return its text."""
        at = f" {where}" if where else ""
        if isinstance(error, NasregError):
            text = f"{error}{at and f' ({where})'}"
        elif self.candidates:
            name = f"{self.candidates[-1]} fails"
            known = (each for each in self.found if each.startswith(name))
            text = next(known, f"{name}{at}: {_located(error)}")
        else:
            images = "x".join(map(str, self.images.shape[1:]))
            text = f"the model {type(self.model).__name__} fails on images of {images}{at}: {_located(error)}"
        self.found[text] = one_decision
        return text

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
        outputs: dict[str, Kind] = {}
        failed: list[str] = []
        for name in spec.candidates:
            copied = _copied((args, kwargs))
            try:
                output = choice.compute(name, *copied[0], **copied[1])
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                failed.append(self._add(error, one_decision=not isinstance(error, NasregError)))
                del self.candidates[depth:]
                continue
            if _share_memory(copied, output):
                self.aliasing.setdefault(spec.key, {})[name] = None
            outputs[name] = Kind.of(output)
        for name, kind in outputs.items():
            first, expected = next(iter(outputs.items()))
            if kind != expected:
                self.found[
                    f"{choice.label}: all candidates must return the same shape and type, but {first!r} returns"
                    f" {expected} and {name!r} returns {kind}"
                ] = False
        if not outputs:
            self.found.update(dict.fromkeys(failed, False))
        elif self.decisions[spec.key] not in outputs:  # what comes after the choice is checked, too
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
                    ] = False

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
        try:
            check_state({"model": self.model.state_dict()})
        except CheckpointError as error:
            self.found[str(error)] = False


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
