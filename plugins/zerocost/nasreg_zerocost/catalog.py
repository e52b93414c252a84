"""The measures as data: title, paper, and what each needs beside a network. Imports no torch.

Of all of them a higher value is taken for the better architecture, as in the programs that they come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

MeasureName = Literal[
    "grad_norm",
    "snip",
    "grasp",
    "fisher",
    "plain",
    "jacob_cov",
    "naswot",
    "synflow",
    "synflow_bn",
    "zen",
    "parameters",
    "macs",
]

Needs = Literal["labels", "images", "shape", "nothing"]
"""What a measure needs: images with labels, images, the shape of images only, or nothing."""


class Measure(NamedTuple):
    """A measure."""

    title: str
    """Name for people."""
    paper: str
    """Where it was proposed; empty for counts."""
    needs: Needs
    function: str
    """``package.module:name`` of what computes it."""


_ABDELFATTAH = "Abdelfattah et al., arXiv 2101.08134"
_MELLOR = "Mellor et al., arXiv 2006.04647"
_TANAKA = "Tanaka et al., arXiv 2006.05467"

MEASURES: Mapping[MeasureName, Measure] = {
    "grad_norm": Measure("norm of the gradient", _ABDELFATTAH, "labels", "nasreg_zerocost.gradients:grad_norm"),
    "snip": Measure("SNIP", "Lee, Ajanthan, Torr, arXiv 1810.02340", "labels", "nasreg_zerocost.gradients:snip"),
    "grasp": Measure("GraSP", "Wang, Zhang, Grosse, arXiv 2002.07376", "labels", "nasreg_zerocost.gradients:grasp"),
    "fisher": Measure("Fisher", "Turner et al., arXiv 1906.04113", "labels", "nasreg_zerocost.gradients:fisher"),
    "plain": Measure(
        "weights times gradient", "Mozer, Smolensky, NeurIPS 1988", "labels", "nasreg_zerocost.gradients:plain"
    ),
    "jacob_cov": Measure(
        "Jacobian covariance", f"{_MELLOR}, version 1", "images", "nasreg_zerocost.activations:jacob_cov"
    ),
    "naswot": Measure("NASWOT", f"{_MELLOR}, version 3", "images", "nasreg_zerocost.activations:naswot"),
    "synflow": Measure("SynFlow", _TANAKA, "shape", "nasreg_zerocost.data_free:synflow"),
    "synflow_bn": Measure("SynFlow with BatchNorm", _TANAKA, "shape", "nasreg_zerocost.data_free:synflow_bn"),
    "zen": Measure("Zen-score", "Lin et al., arXiv 2102.01063", "shape", "nasreg_zerocost.zen:zen"),
    "parameters": Measure("parameters", "", "nothing", "nasreg_zerocost.data_free:parameters"),
    "macs": Measure("MACs", "", "shape", "nasreg_zerocost.data_free:macs"),
}
"""Name -> measure."""


def needs_images(name: MeasureName) -> bool:
    """Return whether a measure needs images, and not their shape alone."""
    return MEASURES[name].needs in ("labels", "images")
