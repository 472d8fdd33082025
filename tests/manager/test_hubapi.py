"""The hub's REST API as the session manager uses it, against a real hub."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import pytest
from typing_extensions import override

from canfar_spawner.core.authority import Action
from canfar_spawner.core.errors import (
    Conflict,
    Invalid,
    LimitReached,
    NotAllowed,
    RequestRefused,
    SessionError,
    StartFailed,
)
from canfar_spawner.core.names import SessionId
from canfar_spawner.manager.callers import Callers, bearer
from canfar_spawner.manager.hubapi import Caller, HubAway, HubClient, HubServer
from tests.support.hub import Hub, Visitor, free_port

PROBE = {"container": "probe"}
DEADLINE = 60.0


def _token(hub: Hub) -> str:
    return (hub.data / "hub" / "sessions_token").read_text().strip()


def _api(hub: Hub) -> str:
    port = json.loads((hub.data / "hub" / "ports.json").read_text())[0]
    return f"http://127.0.0.1:{port}/hub/api"


@pytest.fixture
async def client(hub: Hub) -> AsyncIterator[HubClient]:
    """Speak to the hub as the session manager does."""
    found = HubClient(_api(hub), _token(hub))
    yield found
    found.close()


async def _until(
    client: HubClient, session: SessionId, right: Callable[[HubServer | None], bool]
) -> None:
    """Wait until the hub says what it should of a session."""
    async with asyncio.timeout(DEADLINE):
        while True:
            found = {each.session: each for each in await client.servers()}
            if right(found.get(session)):
                return
            await asyncio.sleep(0.1)


async def _gone(client: HubClient, session: SessionId) -> None:
    await _until(client, session, lambda server: server is None)


async def _ready(client: HubClient, session: SessionId) -> None:
    await _until(client, session, lambda server: server is not None and server.ready)


async def test_a_token_says_whose_it_is_and_what_it_permits(
    client: HubClient, ada: Visitor, hub: Hub
) -> None:
    caller = await client.whoami(ada.token)
    assert caller is not None
    assert (caller.name, caller.kind, caller.admin) == ("ada", "user", False)
    assert caller.may(Action.CREATE, "ada")
    assert not caller.may(Action.LIST, "ben")
    assert ada.token not in repr(caller)
    service = await client.whoami(_token(hub))
    assert service is not None
    assert (service.name, service.kind) == ("sessions", "service")


@pytest.mark.parametrize(
    "token", ["", "nobodys", "a\r\nHost: x", "ünicode", " ", "x" * 5000, "a b"]
)
async def test_what_is_no_token_is_nobodys(client: HubClient, token: str) -> None:
    assert await client.whoami(token) is None


async def test_a_token_is_asked_about_once_and_not_for_long(hub: Hub, ada: Visitor) -> None:
    client = HubClient(_api(hub), _token(hub))
    now = 0.0
    asked: list[str] = []

    class Counted(HubClient):
        @override
        async def whoami(self, token: str) -> Caller | None:
            asked.append(token)
            return await client.whoami(token)

    callers = Callers(Counted(_api(hub), _token(hub)), lambda: now)
    found = await asyncio.gather(*(callers.of(ada.token) for _ in range(20)))
    assert {caller.name for caller in found if caller} == {"ada"}
    assert len(asked) == 1
    made = ada.api("POST", "/users/ada/tokens", json={"note": "short"}).json()
    assert (await callers.of(made["token"])) is not None
    ada.api("DELETE", f"/users/ada/tokens/{made['id']}")
    assert (await callers.of(made["token"])) is not None
    now = 5.0
    assert (await callers.of(made["token"])) is None
    assert (await callers.of("nobodys")) is None
    count = len(asked)
    assert (await callers.of("nobodys")) is None
    assert len(asked) == count


def test_a_header_gives_a_token_or_nothing() -> None:
    assert bearer("Bearer abc") == "abc"
    assert bearer("token  abc ") == "abc"
    assert bearer("Basic abc") == ""
    assert bearer("abc") == ""
    assert bearer("") == ""


async def test_a_launch_is_known_with_its_plan_and_ends(client: HubClient, ada: Visitor) -> None:
    session = SessionId("hubapi01")
    await client.launch(ada.token, "ada", session, {**PROBE, "name": "Mine"})
    await _ready(client, session)
    (server,) = (each for each in await client.servers() if each.session == session)
    assert server.owner == "ada"
    assert server.plan is not None
    assert server.plan.name == "Mine"
    assert server.url.endswith(f"/user/ada/{session}/")
    assert {"ada"} <= set(await client.users())
    await client.stop("ada", session)
    await _gone(client, session)
    await client.stop("ada", session)


@pytest.mark.parametrize(
    ("options", "kind", "field", "status"),
    [
        ({"container": "nothing"}, Invalid, "container", 400),
        ({"container": "probe", "cores": 3, "memory": 4}, Invalid, "cores", 400),
        ({"container": "probe", "kind": "headless"}, RequestRefused, "kind", 400),
        ({"image": "images.example.org/a/b:1", "kind": "notebook"}, RequestRefused, "image", 400),
    ],
)
async def test_a_refusal_comes_in_the_hubs_own_words(
    client: HubClient,
    ada: Visitor,
    options: dict[str, object],
    kind: type[SessionError],
    field: str,
    status: int,
) -> None:
    with pytest.raises(kind) as refused:
        await client.launch(ada.token, "ada", SessionId("hubapi02"), options)
    direct = ada.launch("hubapi02", **options)
    assert direct.status_code == status
    assert refused.value.as_json() == direct.json()
    assert refused.value.field == field


async def test_a_limit_and_a_used_id_are_told(client: HubClient, ben: Visitor) -> None:
    sessions = [SessionId(f"hubapi1{count}") for count in range(4)]
    for session in sessions[:3]:
        await client.launch(ben.token, "ben", session, PROBE)
    with pytest.raises(LimitReached) as refused:
        await client.launch(ben.token, "ben", sessions[3], PROBE)
    assert "3 of 3" in refused.value.sentence
    await asyncio.gather(*(_ready(client, session) for session in sessions[:3]))
    with pytest.raises((Conflict, RequestRefused)) as again:
        await client.launch(ben.token, "ben", sessions[0], PROBE)
    assert again.value.status in (400, 409)
    for session in sessions[:3]:
        await client.stop("ben", session)
        await _gone(client, session)


async def test_a_program_that_fails_is_no_fault_of_the_hub(client: HubClient, ada: Visitor) -> None:
    with pytest.raises(StartFailed) as failed:
        await client.launch(ada.token, "ada", SessionId("hubapi03"), {"container": "broken"})
    assert "ended with an error" in failed.value.sentence


async def test_another_s_token_and_one_that_may_little_are_told_apart_from_a_hub_that_is_away(
    client: HubClient, ada: Visitor, ben: Visitor
) -> None:
    scopes = ["access:services!service=sessions"]
    weak = ada.api("POST", "/users/ada/tokens", json={"scopes": scopes}).json()["token"]
    caller = await client.whoami(weak)
    assert caller is not None
    assert not caller.may(Action.LIST, "ada")
    for token in (weak, "nobodys"):
        with pytest.raises(NotAllowed) as refused:
            await client.launch(token, "ada", SessionId("hubapi04"), PROBE)
        assert refused.value.status == 403
        assert refused.value.code == "scope_missing"
    with pytest.raises(SessionError) as other:
        await client.launch(ben.token, "ada", SessionId("hubapi04"), PROBE)
    assert other.value.status in (403, 404)
    nowhere = HubClient(f"http://127.0.0.1:{free_port()}/hub/api", "x")
    for call in (
        nowhere.whoami("abc"),
        nowhere.stop("ada", SessionId("hubapi04")),
        nowhere.servers(),
        nowhere.launch("abc", "ada", SessionId("hubapi04"), PROBE),
    ):
        with pytest.raises(HubAway) as away:
            await call
        assert away.value.status == 503


async def test_the_hub_lets_in_whom_it_is_told_to(
    client: HubClient, ada: Visitor, ben: Visitor
) -> None:
    session = SessionId("hubapi05")
    await client.launch(ada.token, "ada", session, PROBE)
    assert await client.shared_with("ada", session) == frozenset()
    await client.share("ada", session, "ben")
    await client.share("ada", session, "ben")
    assert await client.shared_with("ada", session) == {"ben"}
    caller = await client.whoami(ben.token)
    assert caller is not None
    assert caller.may(Action.ENTER, "ada", session)
    assert not caller.may(Action.STOP, "ada", session)
    with pytest.raises(RequestRefused) as unknown:
        await client.share("ada", session, "nobody")
    assert unknown.value.status == 400
    await client.unshare("ada", session, "ben")
    await client.unshare("ada", session, "nobody")
    assert await client.shared_with("ada", session) == frozenset()
    await client.share("ada", session, "ben")
    await client.unshare_all("ada", session)
    assert await client.shared_with("ada", session) == frozenset()
    await _ready(client, session)
    await client.stop("ada", session)
    await _gone(client, session)
    assert await client.shared_with("ada", session) == frozenset()
    await client.unshare("ada", session, "ben")
    await client.unshare_all("ada", session)


def test_nothing_of_it_holds_the_token() -> None:
    client = HubClient("http://127.0.0.1:1/hub/api", "secret-token")
    assert "secret-token" not in repr(client)
    with pytest.raises(HubAway) as away:
        asyncio.run(client.whoami("secret-token"))
    assert "secret-token" not in f"{away.value} {away.value.detail}"
