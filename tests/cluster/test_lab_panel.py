"""JupyterLab's panel in a pod: what is shown of it on one machine, once more on a cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.test_lab_panel import (
    NAME,
    SESSION,
    others_page,
    panel,
    test_a_visitor_leaves,
    test_anybody_can_read_it,
    test_it_is_stopped_once_that_is_confirmed,
    test_somebody_is_let_in_by_a_link_and_is_out_when_it_is_revoked,
    test_the_session_is_told_and_extended,
    test_what_it_asks_by_itself_is_no_use_of_the_session,
    test_while_the_platform_is_away_it_says_since_when,
)
from tests.support.cluster_hub import ClusterHub
from tests.support.lab import Lab, launch_lab

__all__ = [
    "others_page",
    "panel",
    "test_a_visitor_leaves",
    "test_anybody_can_read_it",
    "test_it_is_stopped_once_that_is_confirmed",
    "test_somebody_is_let_in_by_a_link_and_is_out_when_it_is_revoked",
    "test_the_session_is_told_and_extended",
    "test_what_it_asks_by_itself_is_no_use_of_the_session",
    "test_while_the_platform_is_away_it_says_since_when",
]

pytestmark = [pytest.mark.cluster, pytest.mark.browser, pytest.mark.long]


@pytest.fixture(scope="module")
def lab(hub: ClusterHub) -> Iterator[Lab]:
    """A session of ada's, of a name that is too long for a narrow panel."""
    ada = hub.sign_in("ada")
    launched = launch_lab(ada, SESSION, container="notebook", name=NAME)
    hub.run_in(SESSION, "sh", "-c", "yes | head -c 2000 > /scratch/left.txt")
    yield launched
    if ada.server(SESSION) is not None:
        ada.stop(SESSION)
