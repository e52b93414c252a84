"""What Jupyter shows of an architecture and of results. Imports no torch, and matplotlib only to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from nasreg.draw.page import svg_text
from nasreg.draw.picture import cells_figure
from nasreg.specs.architecture import Architecture
from nasreg.specs.genotype import genotype_text
from nasreg.specs.space import SearchSpaceSpec


def architecture_table(architecture: Architecture) -> str:
    """Return the decisions as a table in HTML; a picture needs the space, too, which an architecture does not have."""
    rows = []
    for key, decision in architecture.decisions.items():
        nodes = [decision] if isinstance(decision, str) else decision
        parts = [
            node if isinstance(node, str) else " + ".join(f"{name} ({state})" for name, state in node) for node in nodes
        ]
        rows.append((key, "<br>".join(map(escape, parts)) or "none"))
    body = "".join(f"<tr><th>{escape(key)}</th><td style='text-align:left'>{value}</td></tr>" for key, value in rows)
    return f"<table><caption>architecture {escape(architecture.fingerprint)}</caption>{body}</table>"


def result_html(
    space: SearchSpaceSpec,
    architecture: Architecture,
    strengths: Mapping[str, Sequence[float]] | None,
    facts: Mapping[str, str],
) -> str:
    """Return what was found as HTML: facts, the picture of the cells, the genotype.

    Args:
        space: The search space.
        architecture: What was found.
        strengths: Key of a cell -> strength of each of its edges, where they are known.
        facts: What to say of it, by name.
    """
    said = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts.items())
    svg = svg_text(lambda: cells_figure(space, architecture, strengths=strengths))
    picture = svg[svg.index("<svg") :]  # without the XML prologue
    genotype = genotype_text(space, architecture)
    text = f"<pre style='white-space:pre-wrap'>{escape(genotype)}</pre>" if genotype else ""
    return f"<div><table>{said}</table><div style='background:#ffffff;overflow-x:auto'>{picture}</div>{text}</div>"
