"""How many examples hypothesis draws here, and how.

By default few, the same in every run, so that the folder takes seconds and a failure comes back. To search longer, with other
examples each time:

    pytest tests/properties --hypothesis-profile=long
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "short", max_examples=12, derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", settings.get_profile("short"), max_examples=500, derandomize=False)

if settings.get_current_profile_name() != "long":
    settings.load_profile("short")
