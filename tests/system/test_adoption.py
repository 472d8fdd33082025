"""The hub's database is lost: sessions run on and become their owner's again when she signs in."""

from __future__ import annotations

import contextlib
import json
import os
import signal

import httpx

from canfar_spawner.local import state as supervisor
from tests.support.hub import Hub, Visitor, wait_for

DATABASE = "jupyterhub.sqlite"


def lose_database(hub: Hub) -> None:
    """Kill the hub, remove its database, and start it again."""
    hub.kill()
    for path in (hub.data / "hub").glob(f"{DATABASE}*"):
        path.unlink()
    hub.start()


def who_is(hub: Hub, token: str) -> httpx.Response:
    """Ask the hub whose token it is."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{hub.url}/hub/api/user", headers=headers)


def answer_of(visitor: Visitor, session: str) -> dict[str, str] | None:
    """Ask a session through the proxy who it is; None where there is none yet."""
    with contextlib.suppress(httpx.TransportError, ValueError):
        found = httpx.get(f"{visitor.hub.url}/user/{visitor.name}/{session}/api", timeout=10)
        if found.status_code == 200:
            return dict(found.json())
    return None


def test_sessions_outlive_the_database(hub: Hub) -> None:
    ada, ben = hub.sign_in("ada"), hub.sign_in("ben")
    for visitor, session in ((ada, "adopted1"), (ada, "adopted2"), (ben, "adopted3")):
        assert visitor.launch(session, container="probe", name=session).status_code in (201, 202)
        visitor.wait_ready(session)
    before = hub.launches()
    programs = {each: supervisor.read_state(path).program for each, path in before.items()}
    tokens = {
        each: json.loads((path / "spec.json").read_text())["env"]["JUPYTERHUB_API_TOKEN"]
        for each, path in before.items()
    }

    lose_database(hub)
    assert hub.rows("select count(*) from spawners")[0][0] == 0, "nothing is remembered"
    assert hub.launches() == before, "and nothing has ended for it"

    ada = hub.sign_in("ada")
    for session in ("adopted1", "adopted2"):
        wait_for(lambda session=session: (ada.server(session) or {}).get("ready"), session)
        told = wait_for(lambda session=session: answer_of(ada, session), f"{session} to answer")
        assert told["session"] == session
        who = who_is(hub, tokens[session])
        assert who.status_code == 200, "its own token counts again"
        assert who.json()["name"] == "ada"
    assert ada.server("adopted3") is None, "ben's is nothing of hers"
    assert hub.launches() == before
    after = {each: supervisor.read_state(path).program for each, path in before.items()}
    assert after == programs, "nothing was started again"
    page = ada.client.get("/hub/home").text
    assert "adopted1" in page
    refused = ada.launch("adopted1", container="probe")
    assert refused.status_code >= 400, "it runs already"

    ada.stop("adopted1")
    assert set(hub.launches()) == {"adopted2", "adopted3"}
    ben = hub.sign_in("ben")
    wait_for(lambda: (ben.server("adopted3") or {}).get("ready"), "ben's session")

    # Lost once more: what has been taken up once is taken up again.
    lose_database(hub)
    ada = hub.sign_in("ada")
    wait_for(lambda: (ada.server("adopted2") or {}).get("ready"), "the session to be hers again")
    assert answer_of(ada, "adopted2") is not None
    # A hub that starts again knows the token of what the one before it has taken up.
    hub.kill()
    hub.start()
    ada = hub.sign_in("ada")
    wait_for(lambda: (ada.server("adopted2") or {}).get("ready"), "the session to be known again")
    assert who_is(hub, tokens["adopted2"]).status_code == 200
    ada.stop("adopted2")
    wait_for(lambda: who_is(hub, tokens["adopted2"]).status_code == 403, "its token to end with it")
    hub.sign_in("ben").stop("adopted3")


def test_one_that_ended_meanwhile_is_not_taken_up(hub: Hub) -> None:
    ada = hub.sign_in("ada")
    for session in ("livingon", "hasended"):
        assert ada.launch(session, container="probe").status_code in (201, 202)
        ada.wait_ready(session)
    path = hub.launches()["hasended"]
    hub.kill()
    os.kill(supervisor.read_state(path).supervisor_pid, signal.SIGTERM)
    wait_for(lambda: not supervisor.is_alive(path), "it to end")
    for database in (hub.data / "hub").glob(f"{DATABASE}*"):
        database.unlink()
    hub.start()
    ada = hub.sign_in("ada")
    wait_for(lambda: (ada.server("livingon") or {}).get("ready"), "the other to be hers again")
    assert ada.server("hasended") is None
    ada.stop("livingon")
