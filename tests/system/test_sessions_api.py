"""The session manager's interface against a real hub, as programs call it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from canfar_spawner.core.names import session_id
from tests.support.hub import Hub, Visitor, wait_for
from tests.support.v1 import OVER, PROBE, V1

pytestmark = pytest.mark.environment("proxy")
LASTING = True

NOTEBOOK = {"type": "notebook", "name": "lab", "image": PROBE}


@pytest.fixture
def v1(ada: Visitor) -> Iterator[V1]:
    """Call as ada, and leave nothing behind."""
    found = V1.of(ada)
    yield found
    found.clear()


def test_a_notebook_from_the_query_string(v1: V1) -> None:
    answer = v1.create(**NOTEBOOK)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/plain")
    session = session_id(answer.text.removesuffix("\n"))
    assert v1.row(session) is not None, "it is known at once"
    row = v1.wait(session, "Running")
    assert row["userid"] == row["owner"] == "ada"
    assert row["type"] == "notebook"
    assert row["name"] == "lab"
    assert row["image"] == PROBE
    assert row["connectURL"].endswith(f"/user/ada/{session}/")
    assert row["connectURL"].startswith("http")
    assert row["runAsUID"] == "20001"
    assert row["isFixedResources"] is False
    assert "requestedRAM" not in row
    assert row["startTime"].endswith("Z")
    assert row["expiryTime"].endswith("Z")
    assert httpx.get(row["connectURL"]).status_code == 200
    assert session in {each["id"] for each in v1.rows(type="Notebook", status="RUNNING")}
    assert session in {each["id"] for each in v1.rows(view="interactive")}
    assert v1.rows(type="headless") == [] or session not in str(v1.rows(type="headless"))
    v1.delete(session)
    assert v1.call("DELETE", f"/v1/session/{session}").status_code == 200
    assert v1.status(session) in ("Completed", "")


def test_a_form_and_a_json_body_give_the_same(v1: V1) -> None:
    fields = {"name": "sized", "image": PROBE, "type": "headless", "cores": "1", "ram": "2"}
    command = {"cmd": "sh", "args": "-c 'echo \"$WORDS\"'"}
    env = ["WORDS=one = two", "REPLICA_ID=1", "REPLICA_COUNT=1"]
    by_form = v1.call("POST", "/v1/session", data={**fields, **command, "env": env})
    assert by_form.status_code == 200, by_form.text
    options = {
        **fields,
        "cores": 1,
        "ram": 2,
        "cmd": "sh",
        "args": ["-c", 'echo "$WORDS"'],
        "env": {"WORDS": "one = two"},
    }
    by_json = v1.call("POST", "/v1/session", json=options)
    assert by_json.status_code == 200, by_json.text
    for answer in (by_form, by_json):
        row = v1.wait(answer.text.strip(), *OVER)
        assert row["status"] == "Completed", row
        assert row["isFixedResources"] is True
        assert row["requestedRAM"] == "2.15"
        assert row["requestedCPUCores"] == "1"
        assert row["exit_code"] == 0
        assert v1.logs(row["id"]) == b"one = two\n"


def test_only_one_size_is_partly_fixed(v1: V1) -> None:
    session = v1.created(**NOTEBOOK, ram="4")
    row = v1.row(session)
    assert row is not None
    assert row["mode"] == "partly fixed"
    assert row["isFixedResources"] is False
    assert "requestedRAM" not in row
    assert "requestedCPUCores" not in row


def test_names_of_another_platform_stand_for_containers(v1: V1) -> None:
    session = v1.created(image="images.canfar.net/skaha/probe:latest", cmd="true")
    row = v1.wait(session, "Completed")
    assert row["image"] == PROBE
    assert row["container"] == "probe"


def test_a_registrys_secret_is_taken_and_told_nowhere(v1: V1, hub: Hub) -> None:
    secret = "canary-registry-secret"
    header = {"X-Skaha-Registry-Auth": base64.b64encode(f"ada:{secret}".encode()).decode()}
    answer = v1.call(
        "POST",
        "/v1/session",
        params={**NOTEBOOK, "type": "headless", "cmd": "true"},
        headers=header,
    )
    assert answer.status_code == 200, answer.text
    row = v1.wait(answer.text.strip(), *OVER)
    assert secret not in json.dumps(row)
    for where, content in hub.evidence():
        assert secret.encode() not in content, where
    bad = v1.call("POST", "/v1/session", params=NOTEBOOK, headers={"X-Skaha-Registry-Auth": "?"})
    assert bad.status_code == 400
    assert "base64" in bad.text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"image": "evil.example.org/x/y:1"}, "images of"),
        ({"image": "noregistry"}, "is not an image reference"),
        ({"type": "desktop-app"}, "started in the desktop itself"),
        ({"type": "spaceship"}, "type must be notebook"),
        ({"cores": "many"}, "cores must be a plain number"),
        ({"cores": "3", "ram": "4"}, "Cores must be"),
        ({"ram": "1e3"}, "ram must be a plain number"),
        ({"gpus": "99"}, "GPUs must be"),
        ({"name": "<b>"}, "cannot be a name"),
        ({"replicas": "3"}, "is not a parameter of this call"),
        ({"type": "notebook", "cmd": "ls"}, "Only batch jobs take cmd"),
        ({"args": "-l"}, "args needs cmd"),
    ],
)
def test_what_is_refused_says_why_and_is_kept(v1: V1, fields: dict[str, str], words: str) -> None:
    answer = (
        v1.create(**{"name": "refused", "cmd": "true", **fields})
        if "args" not in fields
        else (v1.create(**fields))
    )
    assert answer.status_code == 400, answer.text
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert words in answer.text
    kept = v1.call("GET", "/v1/refusals").json()
    assert words in kept[0]["sentence"]
    assert kept[0]["at"].endswith("Z")
    assert not v1.rows(status="Pending")


def test_env_is_told_apart_and_never_repeated(v1: V1) -> None:
    for env in (("SECRET",), ("A=1", "A=2"), ("=x",), ("1A=canary-value",), ("HOME=/",)):
        answer = v1.create(*env, cmd="true")
        assert answer.status_code == 400, env
        assert "canary-value" not in answer.text
    kept = v1.call("GET", "/v1/refusals").text
    assert "canary-value" not in kept


def test_a_limit_is_told(v1: V1) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: v1.create(**NOTEBOOK), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [400] * 5
    refused = [answer.text for answer in answers if answer.status_code == 400]
    assert all("of 3 sessions" in text for text in refused)
    # One may begin to run between the two questions.
    rows = [v1.rows(view="interactive", status=status) for status in ("Pending", "Running")]
    assert len({row["id"] for some in rows for row in some}) == 3
    job = v1.created(cmd="true")
    v1.wait(job, "Completed")


def test_extend_and_rename(v1: V1) -> None:
    session = v1.created(**NOTEBOOK)
    path = f"/v1/session/{session}"
    v1.wait(session, "Running")
    for arguments in ({"params": {"action": "renew"}}, {"data": {"action": "renew"}}):
        answer = v1.call("POST", path, **arguments)
        assert (answer.status_code, answer.text) == (200, "")
    assert v1.call("POST", path, params={"action": "explode"}).status_code == 400
    assert v1.call("POST", path).status_code == 400
    nobody = v1.call("POST", "/v1/session/zzzzzzz9", params={"action": "renew"})
    assert nobody.status_code == 400
    assert "zzzzzzz9" in nobody.text
    renamed = v1.call("PATCH", path, json={"name": "Galaxies"})
    assert renamed.json()["name"] == "Galaxies"
    row = v1.row(session)
    assert row is not None
    assert row["name"] == "Galaxies"
    bodies: tuple[object, ...] = (
        {"name": ""},
        {"name": "<b>"},
        {},
        {"title": "x"},
        [],
        {"name": 3},
    )
    for body in bodies:
        assert v1.call("PATCH", path, json=body).status_code == 400, body


def test_events_are_a_table_that_the_client_can_read(v1: V1) -> None:
    session = v1.created(cmd="true")
    v1.wait(session, "Completed")
    answer = v1.call("GET", f"/v1/session/{session}", params={"view": "events"})
    assert answer.headers["Content-Type"].startswith("text/plain")
    lines = answer.text.splitlines()
    assert lines[0].split() == ["TYPE", "REASON", "MESSAGE", "FIRST-TIME", "LAST-TIME"]
    rows = [[cell for cell in line.split("  ") if cell.strip()] for line in lines[1:]]
    assert all(len(row) == 5 for row in rows), answer.text
    assert [row[1].strip() for row in rows][-1] == "Ended"


def test_somebody_elses_is_as_if_it_was_not_there(v1: V1, ben: Visitor) -> None:
    session = v1.created(**NOTEBOOK)
    other = V1.of(ben)
    for method, tail, arguments in (
        ("GET", "", {}),
        ("GET", "", {"params": {"view": "logs"}}),
        ("PATCH", "", {"json": {"name": "mine"}}),
        ("GET", "/shares", {}),
        ("GET", "/app", {}),
    ):
        there = other.call(method, f"/v1/session/{session}{tail}", **arguments)
        nowhere = other.call(method, f"/v1/session/zzzzzzz9{tail}", **arguments)
        assert there.status_code == nowhere.status_code == 404
        assert there.text.replace(session, "zzzzzzz9") == nowhere.text
    assert other.call("DELETE", f"/v1/session/{session}").status_code == 200
    assert other.call("POST", f"/v1/session/{session}?action=renew").status_code == 400
    assert session not in str(other.rows())
    assert v1.status(session) in ("Pending", "Running")


def test_everybody_is_counted_and_nobody_named(v1: V1, ben: Visitor) -> None:
    session = v1.created(**NOTEBOOK)
    v1.wait(session, "Running")
    rows = V1.of(ben).rows(view="all")
    assert rows
    for row in rows:
        assert set(row) <= {"userid", "type", "status", "startTime"}
        assert row["userid"] in ("", "ben")
    assert "ada" in {row["userid"] for row in v1.rows(view="all")}


def test_the_load_and_the_limits(v1: V1) -> None:
    stats = v1.call("GET", "/v1/session", params={"view": "stats"}).json()
    assert stats["cores"]["cpuCoresAvailable"] > 0
    assert stats["ram"]["ramAvailable"].endswith("G")
    context = v1.call("GET", "/v1/context").json()
    assert context["maxInteractiveSessions"] == 3
    assert context["cores"]["options"] == [1, 2, 4, 8]
    images = v1.call("GET", "/v1/image", params={"type": "headless"}).json()
    assert PROBE in {image["id"] for image in images}
    assert v1.call("GET", "/v1/image", params={"type": "none"}).status_code == 400
    assert "registry.example.org" in v1.call("GET", "/v1/repository").json()


def test_apps_of_desktops_are_none(v1: V1) -> None:
    session = v1.created(**NOTEBOOK)
    path = f"/v1/session/{session}/app"
    assert v1.call("GET", path).json() == []
    assert v1.call("POST", path, params={"image": PROBE}).status_code == 400
    assert v1.call("GET", f"{path}/abc").status_code == 404
    assert v1.call("DELETE", f"{path}/abc").status_code == 200
    assert v1.call("DELETE", "/v1/session").status_code == 400


def test_discovery_needs_no_token(hub: Hub) -> None:
    nobody = V1(hub)
    for path in ("", "/", "/v1"):
        answer = nobody.call("HEAD", path)
        assert answer.status_code == 200, path
        assert answer.content == b""
    for path in ("/capabilities", "/v1/capabilities"):
        answer = nobody.call("GET", path)
        assert answer.headers["Content-Type"].startswith("text/xml")
        assert f"{hub.url}/services/sessions/v1/session" in answer.text
    for path in ("/availability", "/v1/availability"):
        assert "available>true<" in nobody.call("GET", path).text


def test_every_route_asks_for_a_token(hub: Hub) -> None:
    nobody = V1(hub)
    document = nobody.call("GET", "/v1/openapi.json").json()
    asked = 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            address = path.replace("{id}", "zzzzzzz9").replace("{", "").replace("}", "")
            answer = nobody.call(method.upper(), address)
            if operation.get("security") == []:
                assert answer.status_code == 200, (method, path)
                continue
            asked += 1
            assert answer.status_code == 401, (method, path)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert asked > 20


def test_what_is_no_method_is_said(v1: V1) -> None:
    answer = v1.call("PUT", "/v1/session")
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"DELETE", "GET", "HEAD", "OPTIONS", "POST"}
    assert v1.call("GET", "/v1/nothing").status_code == 404


def test_the_same_key_is_the_same_session(v1: V1) -> None:
    key = {"Idempotency-Key": "once"}
    for fields in ({"cmd": "true"}, dict(NOTEBOOK)):
        params: dict[str, Any] = {"image": PROBE, **fields}
        headers = {"Idempotency-Key": f"{key['Idempotency-Key']}-{len(fields)}"}
        with ThreadPoolExecutor(6) as pool:
            answers = list(
                pool.map(
                    lambda _, p=params, h=headers: v1.call(
                        "POST", "/v1/session", params=p, headers=h
                    ),
                    range(6),
                )
            )
        assert len({answer.text for answer in answers}) == 1, [a.text for a in answers]
        assert answers[0].status_code == 200
    bad = v1.call(
        "POST", "/v1/session", params={"cmd": "true"}, headers={"Idempotency-Key": "x" * 300}
    )
    assert bad.status_code == 400


def test_refusals_are_json_for_programs_that_ask(v1: V1) -> None:
    answer = v1.call(
        "POST",
        "/v1/session",
        params={**NOTEBOOK, "cores": "3", "ram": "4"},
        headers={"Accept": "application/problem+json"},
    )
    found = answer.json()
    assert found["status"] == 400
    assert found["field"] == "cores"
    assert found["allowed"] == ["1", "2", "4", "8"]


def test_a_broken_start_is_told(v1: V1) -> None:
    broken = PROBE.replace("probe", "broken")
    answer = v1.create(type="notebook", image=broken, name="broken")
    if answer.status_code == 200:
        row = v1.wait(answer.text.strip(), "Failed")
        assert row["reason"] == "program_failed"
        assert row["sentence"]
    else:
        assert answer.status_code == 424
        assert "error" in answer.text
    wait_for(
        lambda: any(each["name"] == "broken" for each in v1.call("GET", "/v1/refusals").json()),
        "it to be among what came to nothing",
        seconds=30,
    )


def test_the_history_goes_further_back_than_the_list(v1: V1, ben: Visitor) -> None:
    ids = [v1.created("TOKEN=canary-history", cmd="true", name=f"past-{n}") for n in range(3)]
    for session in ids:
        v1.wait(session, "Completed")
        assert v1.call("DELETE", f"/v1/session/{session}").status_code == 200
    assert not set(ids) & {row["id"] for row in v1.rows()}, "cleared from the list"
    found: list[str] = []
    cursor = ""
    while True:
        query = {"most": "2", "type": "headless", **({"cursor": cursor} if cursor else {})}
        page = v1.call("GET", "/v1/history", params=query).json()
        assert len(page["sessions"]) <= 2
        found += [row["id"] for row in page["sessions"]]
        cursor = page["cursor"]
        if not cursor:
            break
    assert found[:3] == ids[::-1]
    story = v1.call("GET", f"/v1/history/{ids[0]}").json()
    assert story["env"] == ["TOKEN"]
    assert "canary-history" not in json.dumps(story)
    assert len(story["planDigest"]) == 12
    steps = [step["step"] for step in story["milestones"]]
    assert (steps[0], steps[-1]) == ("asked", "ended")
    assert V1.of(ben).call("GET", f"/v1/history/{ids[0]}").status_code == 404
    for bad in ({"most": "0"}, {"most": "x"}, {"since": "today"}, {"cursor": "?"}, {"type": "x"}):
        assert v1.call("GET", "/v1/history", params=bad).status_code == 400, bad


def test_metrics_are_for_whoever_may_measure(v1: V1, hub: Hub) -> None:
    assert V1(hub).call("GET", "/metrics").status_code == 401
    assert v1.call("GET", "/metrics").status_code == 403
    near = httpx.get(f"{hub.sessions_url()}/metrics")
    assert near.status_code == 200
    for word in ("canfar_sessions", "canfar_session_starts_total", "listSessions"):
        assert word in near.text
    assert "ada" not in near.text
