"""An id is used once: what is kept of a session, and who may enter it, is found by its id alone."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from canfar_spawner.core.names import launch_id
from canfar_spawner.hub.ended import EndedLaunches
from canfar_spawner.portal.visits import visit
from tests.hub.conftest import World

PROBE = {"user_options": {"container": "probe"}}


async def launch(world: World, session: str, name: str = "ada") -> Any:
    """Launch a session and wait until it is ready; gives its spawner."""
    token = world.token(name)
    answer = await world.api("POST", f"/users/{name}/servers/{session}", token, json=PROBE)
    assert answer.status_code in (201, 202), answer.text
    spawner = world.user(name).spawners[session]
    await world.until(lambda: spawner.ready, "the session to be ready")
    return spawner


async def refused(world: World, session: str, name: str) -> dict[str, Any]:
    answer = await world.api(
        "POST", f"/users/{name}/servers/{session}", world.token(name), json=PROBE
    )
    assert answer.status_code == 409, answer.text
    return dict(answer.json())


async def test_an_id_is_not_used_again_once_nothing_is_left_of_its_session(world: World) -> None:
    await launch(world, "usedup01")
    for name in ("ben", "ada"):
        if name == "ada":
            await world.api("DELETE", "/users/ada/servers/usedup01", world.token("ada"))
            await world.until(lambda: "usedup01" not in world.rows(), "its row to go")
        # Nor by anybody else, whether it runs or has ended.
        told = await refused(world, "usedup01", name)
        assert told["message"] == ("The session id usedup01 has been used before. Take a new one.")
        assert (told["code"], told["field"]) == ("conflict", "session")
    await refused(world, "usedup01", "ben")
    assert world.rows() == {}
    assert world.platform._admitted == {}


def test_used_ids_are_known_to_the_next_hub(tmp_path: Any) -> None:
    now = datetime(2026, 11, 5, 12, tzinfo=UTC)
    EndedLaunches(tmp_path / "ended", lambda: now).add(launch_id("k3vd81qa-0123456789ab"))
    later = EndedLaunches(tmp_path / "ended", lambda: now + timedelta(days=29))
    assert later.has_session("k3vd81qa")
    assert not later.has_session("k3vd81qb")
    assert not EndedLaunches(tmp_path / "ended", lambda: now + timedelta(days=31)).has_session(
        "k3vd81qa"
    )


async def test_a_new_name_is_on_every_page(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    spawner = await launch(world, "renamed1")
    assert spawner.plan is not None
    world.platform.news.take([{"kind": "renamed", "launch": spawner.plan.launch, "name": "M31"}])

    oauth_client = world.rows()["renamed1"].oauth_client
    asked = visit(oauth_client)
    assert asked is not None
    assert (asked.owner, asked.name) == ("ada", "M31")

    form = await world.user("ada").spawners[""].get_options_form()
    assert form.taken == ("M31",)

    # The hub sees the end before the session manager tells of it.
    await world.platform.backend.stop(spawner.plan.launch)
    await spawner.poll_and_notify()
    await world.until(lambda: bool(world.platform.recent.of("ada")), "the end to be shown")
    (ending,) = world.platform.recent.of("ada")
    assert ending.plan.name == "M31"
