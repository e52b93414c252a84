"""ProxylessNAS keeps nasreg's contract, with the gates of two paths and gradients accumulated."""

from __future__ import annotations

import pytest

from nasreg.testing import AlgorithmContract, short_options


class TestProxyless(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "proxyless"

    @pytest.fixture
    def trainer_options(self):
        return {**short_options("proxyless"), "accumulate": 2}
