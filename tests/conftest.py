"""What all tests share: Hypothesis profiles and the marker of the manual's clauses."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("countis", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("countis")
