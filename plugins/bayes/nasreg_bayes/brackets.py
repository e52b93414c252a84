"""Which numbers of architectures are evaluated with which share of the full effort. Imports no torch."""

from __future__ import annotations

from typing import NamedTuple


class Rung(NamedTuple):
    """A step of successive halving."""

    size: int
    """Number of architectures, at most."""
    fidelity: float
    """Share of the evaluator's full effort that each gets."""


Bracket = tuple[Rung, ...]
"""Rungs of ever fewer architectures, the last with the full effort."""


def max_halvings(number: int, eta: int) -> int:
    """Return floor(log_eta(number)), exactly."""
    halvings = 0
    while eta ** (halvings + 1) <= number:
        halvings += 1
    return halvings


def halving_bracket(architectures: int, eta: int, rungs: int) -> Bracket:
    """Return a bracket of successive halving.

    Args:
        architectures: Architectures in the first rung.
        eta: One of so many enters the next rung, for so many times the effort.
        rungs: Number of rungs.
    """
    return tuple(Rung(architectures // eta**rung, float(eta) ** (rung - rungs + 1)) for rung in range(rungs))


def hyperband_brackets(max_resource: int, eta: int) -> tuple[Bracket, ...]:
    """Return the brackets of Hyperband, algorithm 1 of arXiv 1603.06560.

    Args:
        max_resource: R of the paper: the full effort, in units of the least effort.
        eta: One of so many enters the next rung, for so many times the effort.
    """
    s_max = max_halvings(max_resource, eta)
    sizes = [-(-(s_max + 1) * eta**s // (s + 1)) for s in range(s_max + 1)]  # n = ceil(B / R * eta^s / (s + 1))
    return tuple(halving_bracket(sizes[s], eta, s + 1) for s in range(s_max, -1, -1))
