"""What P-DARTS drops after each stage, and what it derives, by the authors' program.

The README beside the file in ``plugins/pdarts/tests/golden`` says what is in it; stages, nodes and candidates may
be any.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, ValidationError

from golden_files import KEYS, Check, Edge, FileError, Strict, cell_nodes, differing, edges_of, parsed

if TYPE_CHECKING:
    from nasreg_pdarts.mutator import PdartsMutator


class Stage(Strict):
    """What a stage of P-DARTS ends with, edge by edge, and what stays."""

    alpha_normal: list[list[float]]
    alpha_reduce: list[list[float]]
    candidates_normal: list[list[str]]
    candidates_reduce: list[list[str]]
    kept_normal: Annotated[list[list[str]], Field(min_length=1)]
    kept_reduce: Annotated[list[list[str]], Field(min_length=1)]


class Genotype(Strict):
    """Operation and source of each edge that is kept."""

    normal: list[Edge]
    reduce: list[Edge]


class Case(Strict):
    """One run of P-DARTS."""

    stages: Annotated[list[Stage], Field(min_length=1)]
    genotype_unrestricted: Genotype
    genotype_by_max_skips: dict[Annotated[int, Field(ge=0)], Genotype]
    skips_unrestricted: int | None = None


class Dropping(Strict):
    """Several runs."""

    cases: Annotated[list[Case], Field(min_length=1)]


def recognises(content: Any) -> bool:
    """Return whether a file is in this format."""
    return isinstance(content, dict) and "cases" in content


def checks(content: Any, path: Path) -> Iterator[Check]:
    """Compare nasreg with a file.

    Raises:
        FileError: Something in it is missing or malformed.
    """
    del path
    return _dropping(parsed(Dropping, content))


def _dropping(content: Dropping) -> Iterator[Check]:
    for number, each in enumerate(content.cases):
        for place, stage in _places(number, each):  # before anything is compared
            _stage_mutator(stage, place)
    for number, case in enumerate(content.cases):
        *stages, (place, last) = _places(number, case)
        for before, stage in stages:
            for key in KEYS:
                kept = getattr(stage, f"kept_{key}")
                left = _stage_mutator(stage, before).strongest(max(map(len, kept)))[key]
                yield Check(f"{before}.kept_{key}", differing([list(names) for names in left], kept), 0)
        # After the last stage ``none`` goes first: what is left is what a cell that keeps all of its edges has.
        whole = _stage_mutator(last, place, all_edges=True).restricted(None)
        for key in KEYS:
            left_over = [[name] for name, _ in edges_of(whole.decisions[key])]
            yield Check(f"{place}.kept_{key}", differing(left_over, getattr(last, f"kept_{key}")), 0)
        mutator = _stage_mutator(last, place)
        genotypes = {"genotype_unrestricted": (None, case.genotype_unrestricted)} | {
            f"genotype_by_max_skips[{limit}]": (limit, genotype)
            for limit, genotype in case.genotype_by_max_skips.items()
        }
        for name, (limit, genotype) in genotypes.items():
            architecture = mutator.restricted(limit)
            for key in KEYS:
                theirs = [list(edge) for edge in getattr(genotype, key)]
                ours = edges_of(architecture.decisions[key])
                yield Check(f"cases[{number}].{name}.{key}", differing(ours, theirs), 0)
        if case.skips_unrestricted is not None:
            skips = sum(name == "skip_connect" for name, _ in edges_of(mutator.restricted(None).decisions["normal"]))
            yield Check(f"cases[{number}].skips_unrestricted", abs(skips - case.skips_unrestricted), 0)


def _places(number: int, case: Case) -> list[tuple[str, Stage]]:
    return [(f"cases[{number}].stages[{n}]", stage) for n, stage in enumerate(case.stages)]


def _stage_mutator(stage: Stage, place: str, *, all_edges: bool = False) -> PdartsMutator:
    """Make the mutator of a stage, for cells that keep two edges of a node or all."""
    import torch

    from nasreg.specs import CellSpec, SearchSpaceSpec
    from nasreg_pdarts.config import PdartsMutatorConfig
    from nasreg_pdarts.mutator import PdartsMutator

    cells = []
    for key in KEYS:
        candidates, alphas = getattr(stage, f"candidates_{key}"), getattr(stage, f"alpha_{key}")
        if [len(names) for names in candidates] != [len(row) for row in alphas] or not candidates:
            raise FileError(f"{place}: alpha_{key} and candidates_{key} differ in shape, or are empty")
        n_nodes = cell_nodes(len(candidates), f"{place}.candidates_{key}")
        try:
            cell = CellSpec(
                key=key,
                inputs=2,
                nodes=n_nodes,
                candidates=tuple(map(tuple, candidates)),
                edges_kept=n_nodes + 1 if all_edges else 2,
                concat=tuple(range(2, 2 + n_nodes)),
                reduction=key == "reduce",
            )
        except ValidationError as error:
            raise FileError(f"{place}.candidates_{key}: {error.errors()[0]['msg']}") from error
        cells.append(cell)
    mutator = PdartsMutator(SearchSpaceSpec(choices=tuple(cells)), PdartsMutatorConfig()).double()
    with torch.no_grad():
        for key in KEYS:
            for row, values in zip(mutator.alpha(key), getattr(stage, f"alpha_{key}"), strict=True):
                row[: len(values)] = torch.tensor(values, dtype=torch.float64)
    return mutator
