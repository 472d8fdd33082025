"""Hypothesis profiles and the site that these tests share."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from canfar_spawner.core.policy import SitePolicy
from tests.core.world import site

settings.register_profile(
    "quick",
    max_examples=150,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "long",
    max_examples=5000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(scope="session")
def policy() -> SitePolicy:
    """Give the sample site."""
    return site()
