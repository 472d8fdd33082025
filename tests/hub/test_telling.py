"""What the hub tells of its sessions: what was asked for, and how it ended."""

from __future__ import annotations

import os
import signal

from canfar_spawner.core.events import SessionEvent, What
from canfar_spawner.core.status import Reason
from canfar_spawner.local import state as supervisor
from tests.hub.conftest import World

OPTIONS = {"container": "probe", "name": "photometry"}


def told(world: World, session: str) -> list[SessionEvent]:
    return [event for event in world.platform.outbox.waiting() if event.session == session]


async def launch(world: World, session: str) -> str:
    """Launch a session of ada's and wait until it is ready."""
    token = world.token("ada")
    answer = await world.api(
        "POST", f"/users/ada/servers/{session}", token, json={"user_options": OPTIONS}
    )
    assert answer.status_code in (201, 202), answer.text
    await world.until(
        lambda: [event for event in told(world, session) if event.what is What.READY], "it"
    )
    return token


async def test_the_first_event_tells_all_that_was_asked_for(world: World) -> None:
    token = await launch(world, "telling1")
    asked = told(world, "telling1")[0]
    assert asked.what is What.ASKED
    assert asked.plan is not None
    assert (asked.plan.launch, asked.plan.name) == (asked.launch, "photometry")
    assert asked.url.endswith("/user/ada/telling1/")
    await world.api("DELETE", "/users/ada/servers/telling1", token)
    await world.until(lambda: told(world, "telling1")[-1].what is What.ENDED, "its end")
    ended = told(world, "telling1")[-1]
    assert ended.reason is Reason.STOPPED


async def test_what_was_killed_was_not_stopped(world: World) -> None:
    await launch(world, "telling2")
    (path,) = world.launches()
    state = supervisor.read_state(path)
    assert state is not None
    assert state.program is not None
    os.kill(state.program.pid, signal.SIGKILL)
    spawner = world.user("ada").spawners["telling2"]
    await world.until(lambda: not world.launches(), "it to end")
    await spawner.poll_and_notify()
    await world.until(lambda: told(world, "telling2")[-1].what is What.ENDED, "its end")
    ended = told(world, "telling2")[-1]
    assert ended.reason is Reason.PROGRAM_FAILED
    assert ended.exit_code == 128 + signal.SIGKILL
