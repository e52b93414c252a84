"""The kit for authors of plugins: derive from ``AlgorithmContract``, name the algorithm, run pytest (it is needed)."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("nasreg.testing.algorithm")  # so that what fails shows its values, as in a test file

from nasreg.testing.algorithm import AlgorithmContract  # noqa: E402  # only after that
from nasreg.testing.contents import differences, run_contents  # noqa: E402
from nasreg.testing.small import short_options, small_options, toy_images  # noqa: E402

__all__ = ["AlgorithmContract", "differences", "run_contents", "short_options", "small_options", "toy_images"]
