"""Options of random search. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nasreg.trainers import MultiTrialTrainerConfig


class RandomTrainerConfig(MultiTrialTrainerConfig):
    """Options of a multi-trial search; by default no architecture is evaluated twice."""

    duplicates: Literal["evaluate", "reject"] = Field(
        default="reject", description="reject: an architecture that was proposed before is not evaluated again"
    )
