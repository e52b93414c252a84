"""DARTS- (Chu et al., arXiv 2009.01027): DARTS of first order with one part of the core, put in by these options.

Each edge gets an auxiliary skip connection (section 3.2) whose weight falls from 1 to 0 with the epochs (section 3.3)
and which is not derived. The defaults are those of the authors' program (Meituan-AutoML/DARTS-). Imports no torch.
"""

from __future__ import annotations

from pydantic import Field

from nasreg.trainers import BilevelTrainerConfig


class DartsMinusTrainerConfig(BilevelTrainerConfig):
    """Options of the bilevel optimisation."""

    auxiliary_skip: float = Field(
        default=1.0,
        ge=0,
        description="weight, in the first epoch, of a further skip connection on each edge of a cell that has one among"
        " its candidates; it falls to 0 and is not derived; 0 for none",
    )
