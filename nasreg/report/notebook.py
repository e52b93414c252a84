"""The HTML that Jupyter shows for the result of a search or a retraining."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from nasreg.config.notation import architecture_text
from nasreg.report.describe import describe_architecture
from nasreg.report.drawing.canvas import figure_svg
from nasreg.report.drawing.cells import cells_figure
from nasreg.report.packages import missing_packages
from nasreg.specs.architecture import Architecture
from nasreg.specs.entries import SpaceEntry
from nasreg.specs.space import SearchSpaceSpec


def result_html(
    space: SearchSpaceSpec,
    architecture: Architecture,
    strengths: Mapping[str, Sequence[float]] | None,
    facts: Mapping[str, str],
    entry: SpaceEntry | None = None,
) -> str:
    """Return a result as HTML: facts, a drawing of the architecture, the genotype.

    Without matplotlib a description takes the place of the drawing.

    Args:
        space: The search space.
        architecture: The architecture found.
        strengths: Key of a cell -> strength of each of its edges, where they are known.
        facts: Facts about the result by their names, such as ``{"epochs": "50"}``.
        entry: The entry of the space in the registry, if it has one.
    """
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts.items())
    drawing = _text(describe_architecture(space, architecture))
    if "matplotlib" not in missing_packages():
        svg = figure_svg(lambda: cells_figure(space, architecture, strengths=strengths))
        without_prologue = svg[svg.index("<svg") :]
        drawing = f"<div style='background:#ffffff;overflow-x:auto'>{without_prologue}</div>"
    genotype = architecture_text(space, architecture, entry)
    return f"<div><table>{rows}</table>{drawing}{_text(genotype) if genotype else ''}</div>"


def _text(text: str) -> str:
    return f"<pre style='white-space:pre-wrap'>{escape(text)}</pre>"
