"""JupyterLab's panel in a pod: what is shown of it on one machine, once more on a cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser import test_lab_panel as alike
from tests.support.cluster_hub import ClusterHub
from tests.support.lab import Lab, launch_lab

pytestmark = [pytest.mark.cluster, pytest.mark.browser, pytest.mark.long]

others_page, panel = alike.others_page, alike.panel
# In their order there: the last one stops the session.
globals().update({name: each for name, each in vars(alike).items() if name.startswith("test_")})


@pytest.fixture(scope="module")
def lab(hub: ClusterHub) -> Iterator[Lab]:
    """A session of ada's, of a name that is too long for a narrow panel."""
    ada = hub.sign_in("ada")
    launched = launch_lab(ada, alike.SESSION, container="notebook", name=alike.NAME)
    hub.run_in(alike.SESSION, "sh", "-c", "yes | head -c 2000 > /scratch/left.txt")
    yield launched
    if ada.server(alike.SESSION) is not None:
        ada.stop(alike.SESSION)
