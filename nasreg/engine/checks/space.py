"""The check of the search space: every candidate, the smallest and the largest architecture, budgets. Imports torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nasreg.config.request import ResolvedRun
from nasreg.engine.checks.findings import ArchitectureFacts, BudgetFacts, CandidateFacts, Findings, Level, SpaceFacts
from nasreg.networks.build import network_of_search
from nasreg.networks.candidates import CalledCandidate, Output, call_candidates, usual_output
from nasreg.networks.costs import SpaceProfile, profile_source
from nasreg.networks.dry_run import supernet_findings
from nasreg.networks.dry_run_passes import Finding as Problem
from nasreg.networks.extremes import extreme_architectures
from nasreg.networks.profile import computing
from nasreg.nn.parameters import parameter_count
from nasreg.specs import Architecture, CellSpec, DataInfo, SearchSpaceSpec
from nasreg.specs.trial import COSTS, LATENCY
from nasreg.tasks import get_task

IMAGES = 2
"""Images in the batches that networks are tried with."""

SAMPLES = 50
"""Random architectures that a budget is compared with."""


CHOICE = re.compile(r"(?P<choice>\w+ '[^']*'): (?P<rest>.*)", re.DOTALL)
CANDIDATE = re.compile(
    r"(?P<choice>\w+ '[^']*'): candidate (?P<candidate>'[^']*')(?P<edge> on the edge from state \d+ to node \d+)?"
    r" (?P<rest>.*)",
    re.DOTALL,
)
"""How a finding about a choice or its candidate begins."""

IN_CELL = re.compile(r"Cell .*?: (candidate|all candidates) ")
"""How a finding about the candidates of a cell begins."""


@dataclass(frozen=True)
class CheckedSpace:
    """The space, and which candidates do not work."""

    facts: SpaceFacts
    unusable: frozenset[tuple[str, str]]
    """Key of a choice and name of a candidate that raises an error or alters its input."""


def check_space(
    run: ResolvedRun,
    space: SearchSpaceSpec,
    model: nn.Module,
    info: DataInfo,
    device: torch.device,
    findings: Findings,
) -> CheckedSpace:
    """Check a space; what is wrong becomes findings.

    Args:
        run: The search.
        space: Its choices.
        model: The supernet.
        info: Shape of the images and the classes.
        device: Where the supernet is computed.
        findings: Where findings are added.
    """
    called: dict[tuple[str, bool], CalledCandidate] = {}
    place = run.space.reference.title
    images = example_batch(info)
    weighted = run.evaluator is None
    own = Findings()
    for train in (True, False):
        with (
            own.attempt("space", place, "computing each candidate"),
            computing(info.channels, info.height, info.width),
        ):
            found = call_candidates(model, images, train=train)
            called.update({(each.site.path, train): each for each in found})
    with findings.attempt("space", place, "one pass over the supernet"):
        options, task = run.spec.space.options, get_task(run.spec.task)
        passed = list(supernet_findings(run.space, options, info, task, device, weighted=weighted))
        # The pass ends with the first candidate of a cell that fails; here each of them is reported.
        cells = [each for each in passed if IN_CELL.match(each.text)]
        in_cells = _check_cells(space, called.values(), _level(cells, weighted=weighted), findings)
        for each in passed:
            if not (in_cells and each in cells):
                findings.add(_level([each], weighted=weighted), "space", *_place(each.text, place))
    if not findings.has("space"):  # else the pass has said the same
        findings.all += own.all
    trained = [each for (_, train), each in called.items() if train] or list(called.values())
    unusable = frozenset((each.site.key, each.site.candidate) for each in called.values() if not each.works)
    costs: SpaceProfile | None = None
    # Where a candidate fails, so do networks with it: they are counted only.
    with (Findings() if unusable else findings).attempt("space", place, "measuring the smallest and the largest"):
        costs = _profile(run, info)
    if costs is None:
        for option in _budget_options(run):
            message = "not compared with architectures, since some candidates do not work"
            findings.add("info", "search", f"trainer.{option}", message)
    facts = SpaceFacts(
        n_choices=len(space.choices),
        n_architectures=space.size(),
        candidates=tuple(map(_facts, trained)),
        architectures=_counted(run, space, info) if costs is None else _architectures(costs),
        budgets=() if costs is None else _budgets(costs, findings),
    )
    return CheckedSpace(facts, unusable)


def _place(text: str, default: str) -> tuple[str, str]:
    """Return the place of a finding, such as a choice and its candidate, and the rest of the text."""
    if found := CANDIDATE.match(text):
        return f"{found['choice']}, candidate {found['candidate']}{found['edge'] or ''}", f"it {found['rest']}"
    found = CHOICE.match(text)
    return (found["choice"], found["rest"]) if found else (default, text)


def example_batch(info: DataInfo) -> torch.Tensor:
    """Return images of noise, the same each time."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(IMAGES, info.channels, info.height, info.width, generator=generator)


def _level(found: Iterable[Problem], *, weighted: bool) -> Level:
    """Return the level of findings; where each architecture is trained by itself, others may not be affected."""
    return "error" if weighted or not all(each.one_decision for each in found) else "warning"


def _check_cells(space: SearchSpaceSpec, called: Iterable[CalledCandidate], level: Level, findings: Findings) -> bool:
    """Report each candidate of a cell that does not work, and return whether there is one."""
    nodes: dict[tuple[str, int | None], list[CalledCandidate]] = {}
    for each in called:
        if each.site.edge is not None:
            nodes.setdefault((each.site.choice_path, each.site.node), []).append(each)
    found = False
    for node in nodes.values():
        usual = usual_output([each for each in node if each.works])
        for each in node:
            problem = _problem(each, usual)
            if problem is not None:
                findings.add(level, "space", _title(space, each), problem)
                found = True
    return found


def _problem(called: CalledCandidate, usual: Output | None) -> str | None:
    if called.failure is not None:
        return f"it fails: {called.failure}"
    if called.in_place:
        return (
            "it alters its input in place, which other candidates and the frozen network read, too: make it work on a"
            " new tensor, for example with nn.ReLU(inplace=False) first"
        )
    if called.output is None:
        return f"it returns a {called.kind}, not a tensor: return the tensor alone"
    if usual is not None and called.output != usual:
        return (
            f"it returns {_text(called.output)}, but others that lead to the same node {_text(usual)}: all must return"
            " one shape and type"
        )
    return None


def _title(space: SearchSpaceSpec, called: CalledCandidate) -> str:
    site = called.site
    edge = ""
    if site.edge is not None and isinstance(space[site.key], CellSpec):
        edge = f" on the edge from state {site.source} to node {site.node}"
    return f"choice {site.key!r}, candidate {site.candidate!r}{edge}"


def _text(output: tuple[tuple[int, ...], str]) -> str:
    shape, dtype = output
    sizes = "x".join(map(str, shape[1:])) or "a number"
    return f"{sizes} of {dtype} for each image" if shape[:1] == (IMAGES,) else f"{tuple(shape)} of {dtype}"


def _facts(called: CalledCandidate) -> CandidateFacts:
    shape, dtype = called.output if called.output is not None else (None, None)
    return CandidateFacts(
        choice=called.site.key,
        candidate=called.site.candidate,
        path=called.site.path,
        shape=None if shape is None else shape[1:],
        dtype=dtype,
        parameters=called.parameters,
        macs=called.macs,
    )


def _budget_options(run: ResolvedRun) -> dict[str, Any]:
    """Return the budgets that are set, by the name of their option."""
    given = {name: getattr(run.trainer_config, name, None) for name in (f"max_{cost.name}" for cost in COSTS)}
    return {name: limit for name, limit in given.items() if limit is not None}


def _profile(run: ResolvedRun, info: DataInfo) -> SpaceProfile:
    """Measure the smallest and the largest architecture, and compare random ones with the budgets."""
    options, budgets = run.spec.space.options, _budget_options(run)
    # A supernet's own budget is one of the size of the search; trials are networks to be retrained.
    retrained = run.evaluator is not None
    return profile_source(run.space, info, options, budgets, retrained=retrained, samples=SAMPLES)


def _counted(run: ResolvedRun, space: SearchSpaceSpec, info: DataInfo) -> tuple[ArchitectureFacts, ...]:
    """Return the parameters of the smallest and the largest architecture, as far as their networks can be built."""
    found: list[ArchitectureFacts] = []
    with Findings().attempt("space", run.space.reference.title, "counting parameters"):
        extremes = extreme_architectures(run.space, run.spec.space.options, space, info)
        for which, each in (("smallest", extremes.smallest), ("largest", extremes.largest)):
            count = parameter_count(network_of_search(run.space, info, run.spec.space.options, each))
            found.append(ArchitectureFacts(which=which, parameters=count, macs=None, architecture=each))
    return tuple(found)


def _architectures(costs: SpaceProfile) -> tuple[ArchitectureFacts, ...]:
    found: dict[str, tuple[int, int, Architecture]] = {
        which: (each.parameters, each.macs, each.architecture)
        for which, each in (("smallest", costs.smallest), ("largest", costs.largest))
    }
    return tuple(
        ArchitectureFacts(which=which, parameters=parameters, macs=macs, architecture=architecture)
        for which, (parameters, macs, architecture) in found.items()
    )


def _budgets(costs: SpaceProfile, findings: Findings) -> tuple[BudgetFacts, ...]:
    found = []
    for metric in COSTS:
        budget = costs.budgets.get(metric.name)
        if budget is None:
            continue
        option = f"trainer.max_{metric.name}"
        samples = 0 if budget.share is None else costs.samples
        facts = BudgetFacts(
            option=option, limit=budget.limit, reachable=budget.reachable, share=budget.share, samples=samples
        )
        found.append(facts)
        limit, smallest = (
            cost_text(metric.name, each) for each in (budget.limit, getattr(costs.smallest, metric.name))
        )
        if budget.reachable is False:
            smallest = cost_text(metric.name, getattr(costs.smallest, metric.name))
            findings.add(
                "error",
                "search",
                option,
                f"no architecture meets the budget of {limit}; the smallest has {smallest}. Raise the budget, or make"
                " the space smaller",
            )
        elif budget.reachable is None or budget.share == 0:
            measured = f"{samples} random architectures" if samples else "the architectures that were measured"
            findings.add(
                "warning",
                "search",
                option,
                f"none of {measured} meets the budget of {limit}: a search would reject nearly all proposals. Raise it",
            )
    return tuple(found)


def cost_text(name: str, value: float) -> str:
    """Return a cost as text: a count, or milliseconds.

    Args:
        name: Name of the cost, such as ``parameters``.
        value: Its value.
    """
    return LATENCY.format(value) if name == LATENCY.name else f"{value:,.0f}"
