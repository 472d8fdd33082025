"""What goes wrong between the gate and a session that answers: nothing is left of it, or nothing ends."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.spawner import SpawnException
from tornado.web import HTTPError

from canfar_spawner.core.status import REASONS, Reason
from canfar_spawner.hub import gate, mixin
from canfar_spawner.local.spawner import LocalSpawner
from tests.hub.conftest import World

PROBE = {"user_options": {"container": "probe"}}


async def launched(world: World, session: str) -> Any:
    token = world.token("ada")
    answer = await world.api("POST", f"/users/ada/servers/{session}", token, json=PROBE)
    assert answer.status_code in (201, 202), answer.text
    spawner = world.user("ada").spawners[session]
    await world.until(lambda: spawner.ready, "the session to be ready")
    return spawner


@pytest.mark.parametrize("limit", ["active_server_limit", "concurrent_spawn_limit"])
async def test_what_the_hub_has_no_room_for_is_refused_before_anything_is_stored(
    world: World, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    user, settings = world.user("ada"), world.app.tornado_application.settings
    go_on, launch = asyncio.Event(), LocalSpawner.launch

    async def held(self: LocalSpawner, *arguments: Any) -> None:
        await go_on.wait()
        await launch(self, *arguments)

    monkeypatch.setattr(LocalSpawner, "launch", held)
    first = asyncio.create_task(launched(world, "roomfor1"))
    starting: set[tuple[str, str]] = set()
    if limit == "concurrent_spawn_limit":
        starting.add(("ada", "roomfor1"))
        await world.until(
            lambda: "roomfor1" in user.spawners and user.spawners["roomfor1"].pending == "spawn",
            "the first to be on its way",
        )
    else:
        go_on.set()
        await first
    monkeypatch.setitem(settings, limit, 1)
    answer = await world.api("POST", "/users/ada/servers/noroom01", world.token("ada"), json=PROBE)
    assert (answer.status_code, answer.json()["code"]) == (429, "busy")
    low, high = settings["spawn_throttle_retry_range"]
    assert low <= int(answer.headers["Retry-After"]) <= high
    assert "again" in answer.json()["message"]
    assert world.rows().keys() == {"roomfor1"}
    assert world.platform._admitted.keys() == starting
    go_on.set()
    await first
    # The same request is granted as soon as there is room.
    monkeypatch.undo()
    assert "noroom01" not in user.spawners
    await launched(world, "noroom01")


async def test_of_what_the_hub_refuses_after_all_nothing_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "RESERVED_FOR", timedelta(seconds=0.5))
    token = world.token("ada")

    async def over(_handler: BaseHandler, user: Any, *, force: bool = False) -> Any:
        return None if force else user

    with monkeypatch.context() as patched:
        patched.setattr(world.app.authenticator, "refresh_pre_spawn", True)
        patched.setattr(BaseHandler, "refresh_auth", over)
        answer = await world.api("POST", "/users/ada/servers/refused2", token, json=PROBE)
        assert answer.status_code == 403, answer.text
    await world.until(lambda: not world.rows(), "its row to go")
    assert world.platform._admitted == {}
    await launched(world, "refused2")


async def never(_url: str) -> bool:
    """Answer for a program that does not."""
    return False


async def test_a_start_that_was_slow_from_its_beginning_says_that_it_took_too_long(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.app.config.LocalSpawner.slow_start = 1.0
    asked, launch = [], LocalSpawner.launch

    async def slow(self: LocalSpawner, *arguments: Any) -> None:
        await asyncio.sleep(1.5)
        await launch(self, *arguments)

    async def no_answer(url: str) -> bool:
        asked.append(url)
        return False

    monkeypatch.setattr(LocalSpawner, "launch", slow)
    monkeypatch.setattr(mixin, "answers", no_answer)
    await world.api("POST", "/users/ada/servers/slowone1", world.token("ada"), json=PROBE)
    spawner = world.user("ada").spawners["slowone1"]
    await world.until(lambda: spawner.failure or not spawner.active, "the start to fail")
    assert spawner.failure.startswith(REASONS[Reason.START_TIMEOUT].sentence)
    # Its time was over when it had been launched.
    assert len(asked) <= 1
    await world.until(lambda: not world.launches(), "nothing of it to run")


async def test_what_cannot_be_taken_up_now_runs_on_and_is_taken_up_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawner, user = await launched(world, "runsonxx"), world.user("ada")
    plan, before = spawner.plan, world.launches()
    # As where the hub's database was lost.
    spawner.stop_polling()
    world.app.db.delete(spawner.orm_spawner)
    world.app.db.commit()
    del user.spawners["runsonxx"]

    async def take_up() -> None:
        (found,) = await world.platform.backend.unclaimed("ada", frozenset())
        world.platform.adoptions["ada", plan.session] = found
        user._new_orm_spawner("runsonxx", "")
        await user.spawn("runsonxx", {"container": "probe"})

    def no_plan(*_: object) -> None:
        raise ValueError

    told = len(world.platform.outbox.waiting())
    for change in ((mixin, "answers", never), (LocalSpawner, "apply_plan", no_plan)):
        with monkeypatch.context() as patched:
            patched.setitem(world.app.config.LocalSpawner, "slow_start", 0.5)
            patched.setattr(*change)
            with pytest.raises((SpawnException, HTTPError)):
                await take_up()
        await world.until(lambda: not world.rows(), "its row to go")
        assert world.launches() == before
        assert plan.launch not in world.platform.ended
        assert world.platform.recent.of("ada") == ()
    events = world.platform.outbox.waiting()[told:]
    assert "ended" not in [event.what for event in events]

    await take_up()
    assert user.spawners["runsonxx"].ready
    assert world.launches() == before
    await world.api("DELETE", "/users/ada/servers/runsonxx", world.token("ada"))
    await world.until(lambda: not world.launches(), "the session to end")
    assert plan.launch in world.platform.ended
