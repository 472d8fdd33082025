"""The gate, seen from inside the hub: what it lets through and what a refusal leaves."""

from __future__ import annotations

import asyncio
import json

import pytest
from jupyterhub import orm

from tests.hub.conftest import World

SECRET = "canary-77b2e4d0"
PROBE = {"user_options": {"container": "probe"}}
WRONG = {"user_options": {"container": "nosuch", "env": {"A": SECRET}}}


async def test_a_refusal_leaves_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    token = world.token("ada")
    world.user("ben")
    before = world.app.db.query(orm.APIToken).count()
    for method, body, status in (
        ("POST", WRONG, 400),
        ("POST", {"user_options": {"uid": 0}}, 400),
        ("POST", {"container": "nosuch"}, 400),  # the options as the whole body
        ("POST", {}, 400),
        ("POST", {**PROBE, "display_name": "x"}, 400),
        ("PUT", PROBE, 400),
        ("PUT", WRONG, 400),
        ("PATCH", PROBE, 404),
        ("PATCH", {"name": "otherone"}, 404),
        ("PATCH", {"display_name": "x"}, 404),
    ):
        answer = await world.api(method, "/users/ada/servers/refused1", token, json=body)
        assert answer.status_code == status, (method, body, answer.text)
        if status == 400:
            assert {"message", "code", "field", "allowed", "status"} == answer.json().keys()
        assert world.rows() == {}
        assert world.user("ada").spawners.keys() <= {""}
    # Nor by way of the nameless server's row, which is there for everybody.
    answer = await world.api("PATCH", "/users/ada/servers/", token, json={"name": "renamed1"})
    assert answer.status_code in (400, 404), answer.text
    answer = await world.api("PATCH", "/users/ada/server", token, json=PROBE)
    assert answer.status_code in (200, 404)
    assert world.rows() == {}
    for row in world.app.db.query(orm.Spawner):
        assert not row.user_options
    assert world.app.db.query(orm.APIToken).count() == before
    assert not list((world.data / "run").iterdir())
    assert world.platform._admitted == {}
    assert world.platform.outbox.waiting() == ()
    assert SECRET not in caplog.text
    assert "Traceback" not in caplog.text


async def test_only_who_may_start_is_judged(world: World) -> None:
    ada, ben = world.token("ada"), world.token("ben")
    reader = world.token("ada", scopes=["read:servers!user"])
    for token in (ben, reader, "nonsense"):
        answer = await world.api("POST", "/users/ada/servers/notmine1", token, json=PROBE)
        assert answer.status_code in (403, 404), answer.text
        answer = await world.api("POST", "/users/ada/servers/notmine1", token, json=WRONG)
        assert answer.status_code in (403, 404), "the catalogue is not told to strangers"
    assert world.platform._admitted == {}
    assert (await world.api("GET", "/users/ada", ada)).json()["servers"] == {}


async def test_a_server_without_a_name_never_starts(world: World) -> None:
    token = world.token("ada")
    for path in ("/users/ada/server", "/users/ada/servers/"):
        for body in (PROBE, WRONG, {}):
            answer = await world.api("POST", path, token, json=body)
            assert answer.status_code == 400, answer.text
    user = world.user("ada")
    assert not user.spawner.active
    row = world.app.db.query(orm.Spawner).filter_by(name="").one()
    assert not row.user_options
    assert not row.state
    assert not list((world.data / "run").iterdir())
    assert world.platform.outbox.waiting() == ()


async def test_fifty_at_once_make_as_many_as_the_limit(world: World) -> None:
    token = world.token("ada")
    answers = await asyncio.gather(
        *(
            world.api("POST", f"/users/ada/servers/many{number:04d}", token, json=PROBE)
            for number in range(50)
        )
    )
    accepted = [answer for answer in answers if answer.status_code in (201, 202)]
    refused = [answer for answer in answers if answer.status_code == 400]
    assert (len(accepted), len(refused)) == (3, 47), {answer.status_code for answer in answers}
    for answer in refused:
        body = answer.json()
        assert body["code"] == "limit_reached"
        assert body["allowed"] == ["3"]
        assert body["message"] == "You have 3 of 3 sessions. Stop one to launch another."
    user = world.user("ada")
    await world.until(
        lambda: sum(spawner.ready for spawner in user.spawners.values()) == 3, "three to be ready"
    )
    assert len(world.rows()) == len(world.launches()) == 3
    assert world.platform._admitted == {}
    # Somebody else's limit is her own; and a place that becomes free is given again.
    admin = world.token("admin")
    answer = await world.api("POST", "/users/admin/servers/another1", admin, json=PROBE)
    assert answer.status_code in (201, 202), answer.text
    first = next(iter(world.rows()))
    await world.api("DELETE", f"/users/ada/servers/{first}", token)
    await world.until(lambda: not user.spawners[first].active, "the session to end")
    answer = await world.api("POST", "/users/ada/servers/again001", token, json=PROBE)
    assert answer.status_code in (201, 202), answer.text
    answer = await world.api("POST", "/users/ada/servers/again002", token, json=PROBE)
    assert answer.status_code == 400, answer.text


async def test_a_failed_start_gives_its_place_back(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    token = world.token("ada")
    broken = {"user_options": {"container": "broken", "env": {"A": SECRET}}}
    for number in range(4):
        answer = await world.api("POST", f"/users/ada/servers/broken0{number}", token, json=broken)
        assert answer.status_code in (202, 424), answer.text
        spawner = world.user("ada").spawners[f"broken0{number}"]
        await world.until(lambda spawner=spawner: not spawner.active, "the start to fail")
        assert spawner.failure
        assert world.rows()[f"broken0{number}"].user_options == {
            "container": "broken",
            "env": ["A"],
        }
    assert world.platform._admitted == {}
    answer = await world.api("POST", "/users/ada/servers/broken00", token, json=PROBE)
    assert answer.status_code == 409, "an id is used once"
    told = world.platform.outbox.path.read_text()
    assert SECRET not in caplog.text + told
    ended = [event for event in world.platform.outbox.waiting() if event.what == "ended"]
    assert len({event.launch for event in ended}) == 4


async def test_a_launch_is_stored_and_told(world: World) -> None:
    token = world.token("ada")
    options = {"container": "probe", "mode": "fixed", "cores": 2, "memory": 4, "env": {"A": SECRET}}
    answer = await world.api(
        "POST", "/users/ada/servers/stored01", token, json={"user_options": options}
    )
    assert answer.status_code in (201, 202), answer.text
    spawner = world.user("ada").spawners["stored01"]
    await world.until(lambda: spawner.ready, "the session to be ready")
    stored = {**options, "env": ["A"]}
    assert world.rows()["stored01"].user_options == stored
    answer = await world.api("GET", "/users/ada/servers/stored01", token)
    assert answer.json()["user_options"] == stored
    assert SECRET not in answer.text
    assert SECRET not in json.dumps(world.rows()["stored01"].state)
    (launch,) = world.launches()
    assert json.loads((launch / "spec.json").read_text())["env"]["A"] == SECRET
    await world.api("DELETE", "/users/ada/servers/stored01", token)
    await world.until(lambda: not world.launches(), "the session to end")
    await world.until(lambda: "stored01" not in world.rows(), "its row to go")
    told = [event.what for event in world.platform.outbox.waiting()]
    assert told.count("asked") == 1
    assert told[-2:] == ["ready", "ended"]
