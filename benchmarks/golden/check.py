"""One quantity of a file: how far nasreg is from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

TOLERANCE = 1e-9
FLOOR = 1e-3
"""Numbers below this part of the largest of their array are compared with that part: they are rounded as it is."""


class Check(NamedTuple):
    """One quantity: how far nasreg is from the file."""

    name: str
    error: float
    """The largest relative error of its numbers; of what must be equal, the number (or part) that is not."""
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether they agree; an error that is no number does not."""
        return self.error <= self.tolerance


def relative_error(ours: Tensor | float, theirs: Tensor, scale: float | None = None) -> float:
    """Return the largest relative error.

    Args:
        ours: What nasreg computed.
        theirs: What is in the file.
        scale: How large the numbers are that it was added up from, where it may be much smaller itself.
    """
    import torch

    difference = (torch.as_tensor(ours, dtype=theirs.dtype).detach() - theirs).abs()
    least = FLOOR * (float(theirs.abs().max()) if scale is None else scale)
    return float(torch.where(difference == 0, 0.0, difference / theirs.abs().clamp(min=least)).max())
