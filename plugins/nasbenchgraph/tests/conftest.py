"""One cache for the tests of the process, so that the table is converted once."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    before = os.environ.get("NASREG_CACHE")
    os.environ["NASREG_CACHE"] = str(tmp_path_factory.getbasetemp() / "nasreg-cache")
    yield
    if before is None:
        del os.environ["NASREG_CACHE"]
    else:
        os.environ["NASREG_CACHE"] = before
