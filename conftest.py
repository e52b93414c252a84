"""Of all tests: they share the cores, and property tests fail for what they find and never for the time it took."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Tests run in as many processes as there are cores. Torch's threads of several processes would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
