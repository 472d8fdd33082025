"""The storage section of JupyterLab's panel in a pod, on what a cluster mounts there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import test_lab_storage as alike
from tests.support.cluster_hub import ClusterHub
from tests.support.lab import Lab, launch_lab
from tests.support.labpanel import Area

pytestmark = [pytest.mark.cluster, pytest.mark.browser, pytest.mark.long]

home, panel, tab = alike.home, alike.panel, alike.tab
globals().update({name: each for name, each in vars(alike).items() if name.startswith("test_")})


@pytest.fixture(scope="module")
def lab(hub: ClusterHub) -> Iterator[Lab]:
    """A session of ada's."""
    ada = hub.sign_in("ada")
    yield launch_lab(ada, alike.SESSION, container="notebook", projects=["demo"])
    ada.stop(alike.SESSION)


@pytest.fixture(scope="module")
def areas(hub: ClusterHub, lab: Lab) -> dict[str, Area]:
    """Ada's home and the session's scratch as the node has them."""
    uid = hub.pod(lab.session)["metadata"]["uid"]
    volumes = f"{hub.cluster.run}/kubelet/pods/{uid}/volumes/kubernetes.io~empty-dir"
    return {
        "home": Area(hub.cluster.arc / "home" / "ada"),
        "scratch": Area(Path(volumes) / "scratch"),
    }
