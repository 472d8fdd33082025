"""The browser's tests of signing in at a provider, on a hub whose sessions are pods."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from canfar_spawner.local import environments
from tests.browser.test_sign_in import (
    test_claims_are_who_somebody_is_at_each_launch,
    test_without_a_uid_nothing_is_launched,
)
from tests.conftest import Need
from tests.support.cluster.cluster import Cluster
from tests.support.cluster_hub import ClusterHub
from tests.support.openid import Provider, SignIn, with_provider

__all__ = [
    "test_claims_are_who_somebody_is_at_each_launch",
    "test_without_a_uid_nothing_is_launched",
]

# Marks do not come along with what is imported.
pytestmark = pytest.mark.browser


@dataclass
class OpenIdClusterHub(SignIn, ClusterHub):
    """A hub on the cluster whose accounts are a provider's."""


def _clear_homes(cluster: Cluster) -> None:
    """Remove the homes: a provider has uids of its own, and a home is never given to another uid."""
    for home in (cluster.arc / "home").glob("*"):
        shutil.rmtree(home)


@pytest.fixture(scope="module")
def running(
    data_directory: Path, cluster: Cluster, need: Need
) -> Iterator[tuple[SignIn, Provider]]:
    how = "get it with: python3 -m canfar_spawner.local.build prepare openid"
    need("openid", environments.is_ready("openid"), how)
    _clear_homes(cluster)
    hub = OpenIdClusterHub(data_directory, cluster=cluster)
    hub.environ = {"CANFAR_HUB_SIGN_IN": "oidc"}
    with with_provider(hub) as provider:
        # The image is pulled once, for longer than a page is waited for.
        admin = hub.sign_in("admin")
        assert admin.launch("puller01", container="astroml").status_code in (201, 202)
        admin.wait_ready("puller01")
        admin.stop("puller01")
        yield hub, provider
    _clear_homes(cluster)
