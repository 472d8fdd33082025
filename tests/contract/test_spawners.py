"""What every spawner of the platform keeps to: the same tests, on one machine and on a cluster."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.support.hub import Hub, Visitor, wait_for
from tests.support.lab import launch_lab

pytestmark = pytest.mark.environment("notebook")

HARD = {"PLAIN": "x", "QUOTES": "a 'b' \"c\" \\", "DOLLAR": "$(HOME) ${HOME} $$", "TWO": "a\nb=c"}


def state(hub: Hub, session: str) -> Any:
    """Give what the hub has stored to find a session again."""
    rows = hub.rows(f"select state from spawners where name = '{session}'")  # noqa: S608 - our own
    return json.loads(rows[0][0] or "{}") if rows else None


def row_is_gone(hub: Hub, session: str) -> bool:
    return not hub.rows(f"select id from spawners where name = '{session}'")  # noqa: S608 - our own


def answer_of(ada: Visitor, session: str) -> httpx.Response:
    return httpx.get(
        f"{ada.hub.url}/user/ada/{session}/api",
        headers={"Authorization": f"Bearer {ada.token}"},
        timeout=30,
    )


def wait_until_it_answers(ada: Visitor, session: str) -> None:
    """Wait, and show what is known where that was in vain."""
    try:
        wait_for(lambda: answer_of(ada, session).status_code == 200, f"{session} to answer")
    except AssertionError as error:
        answer, log = answer_of(ada, session), ada.hub.log.read_text()[-4000:]
        known = f"{ada.server(session)}\n{answer.status_code} {answer.text[:300]}\n{log}"
        raise AssertionError(f"{error}\n{known}") from None


def test_from_launch_to_stop(hub: Hub, ada: Visitor) -> None:
    assert ada.launch("contrac1", container="probe").status_code in (201, 202)
    ada.wait_ready("contrac1")
    assert "contrac1" in hub.launches()
    answer = answer_of(ada, "contrac1")
    assert answer.status_code == 200
    assert answer.json()["session"] == "contrac1"
    kept = state(hub, "contrac1")["canfar"]
    assert kept["plan"]["session"] == "contrac1"
    token_id = kept["token_id"]
    assert hub.rows(f"select id from api_tokens where id = {token_id}")  # noqa: S608 - a number
    ada.stop("contrac1")
    wait_for(lambda: row_is_gone(hub, "contrac1"), "the row to go")
    assert not hub.rows(f"select id from api_tokens where id = {token_id}")  # noqa: S608 - a number


def test_an_id_is_taken_once(hub: Hub, ada: Visitor) -> None:
    assert ada.launch("contrac2", container="broken").status_code >= 201
    wait_for(lambda: "contrac2" not in hub.launches(), "the failed one to be cleared away")
    wait_for(lambda: (ada.server("contrac2") or {}).get("pending") is None, "the failure")
    assert ada.launch("contrac2", container="probe").status_code == 409


def test_what_is_refused_leaves_no_trace(hub: Hub, ada: Visitor) -> None:
    answer = ada.launch("contrac3", container="probe", cores=3, memory=1, mode="fixed")
    assert answer.status_code == 400
    assert answer.json()["field"] == "cores"
    assert row_is_gone(hub, "contrac3")
    assert "contrac3" not in hub.launches()


def test_a_program_that_fails_is_told_and_cleared_away(hub: Hub, ada: Visitor) -> None:
    ada.launch("contrac4", container="broken")
    wait_for(lambda: (ada.server("contrac4") or {}).get("pending") is None, "the failure")
    page = ada.client.get("/hub/spawn-pending/ada/contrac4")
    assert "ended with an error" in page.text
    wait_for(lambda: "contrac4" not in hub.launches(), "what is left of it to go")
    assert httpx.get(f"{hub.url}/hub/health", timeout=5).status_code == 200


def test_a_session_that_is_ended_behind_its_back_is_noticed(hub: Hub, ada: Visitor) -> None:
    assert ada.launch("contrac5", container="probe").status_code in (201, 202)
    ada.wait_ready("contrac5")
    hub.destroy("contrac5")
    wait_for(
        lambda: not (ada.server("contrac5") or {}).get("ready"),
        "the end to be noticed",
        seconds=180,
    )
    assert "contrac5" not in hub.launches()


def test_variables_arrive_to_the_byte_and_sizes_are_told(hub: Hub, ada: Visitor) -> None:
    lab = launch_lab(ada, "contrac6", container="notebook", env=HARD)
    told = json.loads(lab.run("import json, os; print(json.dumps(dict(os.environ)))"))
    assert {name: told[name] for name in HARD} == HARD
    assert told["HOME"] == told["CANFAR_HOME"]
    assert told["CANFAR_PROJECTS"] == "demo survey"
    assert told["CANFAR_SESSION_ID"] == "contrac6"
    stored = hub.rows("select user_options from spawners where name = 'contrac6'")[0][0]
    assert json.loads(stored)["env"] == sorted([*HARD, "CANARY"])
    scratch = "import os; print(sorted(os.listdir(os.environ['CANFAR_SCRATCH'])))"
    assert lab.run(scratch).strip() == "[]"
    lab.run("open(os.environ['CANFAR_SCRATCH'] + '/left', 'w').write('x')")
    made = "import os; os.umask(0o002) == 0o002 and print('group')"
    assert lab.run(made).strip() == "group", "what is made in a project is its group's to change"
    ada.stop("contrac6")
    again = launch_lab(ada, "contrac7", container="notebook")
    assert again.run(scratch).strip() == "[]"
    ada.stop("contrac7")


def test_a_killed_hub_loses_neither_what_runs_nor_what_starts(hub: Hub, ada: Visitor) -> None:
    assert ada.launch("contrac8", container="probe").status_code in (201, 202)
    ada.wait_ready("contrac8")
    with httpx.Client() as client:
        client.post(
            f"{hub.url}/hub/api/users/ada/servers/contrac9",
            json={"user_options": {"container": "notebook"}},
            headers={"Authorization": f"Bearer {ada.token}"},
            timeout=30,
        )
    # Killed before the back end has it, a hub takes what the session needs to know with it.
    wait_for(lambda: "contrac9" in hub.launches(), "the start to be under way")
    assert state(hub, "contrac9"), "it was written down before"
    hub.kill()
    assert "contrac8" in hub.launches()
    hub.start()
    for session in ("contrac8", "contrac9"):
        wait_until_it_answers(ada, session)
        assert (ada.server(session) or {})["ready"]
        ada.stop(session)


def test_stopping_while_it_starts_leaves_nothing(hub: Hub, ada: Visitor) -> None:
    with httpx.Client() as client:
        client.post(
            f"{hub.url}/hub/api/users/ada/servers/contra10",
            json={"user_options": {"container": "notebook"}},
            headers={"Authorization": f"Bearer {ada.token}"},
            timeout=30,
        )
    wait_for(lambda: "contra10" in hub.launches(), "it to be on its way")
    answer = ada.api("DELETE", "/users/ada/servers/contra10")
    assert answer.status_code in (202, 204, 400), answer.text
    if answer.status_code == 400:  # JupyterHub stops nothing that is still starting by its API
        ada.wait_ready("contra10")
        ada.stop("contra10")
    wait_for(lambda: "contra10" not in hub.launches(), "it to be gone")
