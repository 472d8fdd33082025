"""What ended is told on its owner's home page, and nobody else's."""

from __future__ import annotations

import os
import signal

import pytest

from canfar_spawner.local import run as supervisor
from tests.support.hub import Hub, Visitor, wait_for

TITLE = "Recently ended"


@pytest.fixture
def ended(hub: Hub, ben: Visitor) -> str:
    """Have a session of ben's killed, another fail to start, and a third stopped by himself."""
    for session, name in (("killed01", "night shift"), ("stopped1", "day shift")):
        assert ben.launch(session, container="probe", name=name).status_code in (201, 202)
        ben.wait_ready(session)
    ben.stop("stopped1")
    wait_for(lambda: "day shift" in ben.home().partition(TITLE)[2], "the stop to be told")
    ben.launch("broken01", container="broken", name="early shift")
    wait_for(lambda: "early shift" in ben.home().partition(TITLE)[2], "the failed start to be told")
    program = supervisor.read_state(hub.launches()["killed01"]).program
    os.kill(program.pid, signal.SIGKILL)
    # JupyterHub looks every half minute, and when a session is asked for once more.
    ben.launch("killed01", container="probe", name="night shift")
    wait_for(lambda: "night shift" in ben.home().partition(TITLE)[2], "the end to be told")
    return ben.home().partition(TITLE)[2]


def test_the_home_page_tells_what_ended_and_why(ended: str, ada: Visitor) -> None:
    assert ended.index("night shift") < ended.index("early shift"), "the latest comes first"
    assert ended.count("The session's program ended with an error.") >= 1
    assert "Stopped on request." in ended.partition("day shift")[2]
    assert TITLE not in ada.home()
