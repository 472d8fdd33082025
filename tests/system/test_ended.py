"""What ended of itself is told on its owner's home page, and nobody else's."""

from __future__ import annotations

import html
import os
import signal

import pytest

from canfar_spawner.local import run as supervisor
from tests.support.hub import Hub, Visitor, wait_for

TITLE = "Recently ended"


def home(visitor: Visitor) -> str:
    return html.unescape(visitor.client.get("/hub/home").text)


@pytest.fixture
def ended(hub: Hub, ben: Visitor) -> str:
    """Have a session of ben's killed, another fail to start, and a third stopped by himself."""
    for session, name in (("killed01", "night shift"), ("stopped1", "day shift")):
        assert ben.launch(session, container="probe", name=name).status_code in (201, 202)
        ben.wait_ready(session)
    ben.stop("stopped1")
    ben.launch("broken01", container="broken", name="early shift")
    wait_for(lambda: "early shift" in home(ben).partition(TITLE)[2], "the failed start to be told")
    program = supervisor.read_state(hub.launches()["killed01"]).program
    os.kill(program.pid, signal.SIGKILL)
    # JupyterHub looks every half minute.
    wait_for(lambda: "night shift" in home(ben).partition(TITLE)[2], "the end to be told")
    return home(ben).partition(TITLE)[2]


def test_the_home_page_tells_what_ended_of_itself(ended: str, ada: Visitor) -> None:
    assert ended.index("night shift") < ended.index("early shift"), "the latest comes first"
    assert ended.count("The session's program ended with an error.") >= 1
    assert "/hub/spawn?opt-name=night+shift&opt-container=probe" in ended
    assert "day shift" not in ended
    assert TITLE not in home(ada)
