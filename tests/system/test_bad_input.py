"""Each mistake a launch can have, sent to a real hub: one refusal, by API and by form.

What the rules say is tested in tests/core; here is what reaches the client, and that nothing
else happens: no row, nothing stored, no process, no error of the server.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.hub import Hub, Visitor, wait_for

pytestmark = pytest.mark.environment("proxy")
LASTING = True
GOOD = {"container": "probe"}
FIXED = {"container": "probe", "mode": "fixed", "cores": 2, "memory": 4}
CORES = ["1", "2", "4", "8"]
MEMORY = ["1", "2", "4", "8", "16", "32"]
SOURCES = ("images.canfar.net/skaha", "images.canfar.net/cadc", "registry.example.org/canfar-hub")
TEN_MB = 10_000_000
ON = True


@dataclass(frozen=True)
class Bad:
    """A mistake: what is sent on top of a good request, and what it is answered."""

    options: dict[str, Any]
    field: str
    words: str
    """Part of the sentence."""
    allowed: list[str] | None = None
    base: dict[str, Any] = field(default_factory=lambda: GOOD)
    code: str = "invalid"
    by: str = "ada"
    api_only: bool = False
    """A form has no way to write it."""

    def body(self) -> dict[str, Any]:
        """Give the options as the API takes them."""
        return {**self.base, **self.options}

    def fields(self) -> dict[str, Any]:
        """Give the options as a form takes them."""
        return {
            name: value if isinstance(value, str | list) else str(value)
            for name, value in self.body().items()
        }


def name(text: str) -> Bad:
    return Bad({"name": text}, "name", "cannot be a name: use 1 to 80 letters, digits, spaces")


def size(which: str, value: object, allowed: list[str]) -> Bad:
    return Bad({which: value}, which, " or ".join(allowed[-2:]), allowed, base=FIXED)


def number(which: str, value: object) -> Bad:
    return Bad({which: value}, which, "plain number", [], base=FIXED)


def swapped(which: str, value: object, words: str) -> Bad:
    return Bad({which: value}, which, words, api_only=True)


CASES = {
    "unknown container": Bad({"container": "astro"}, "container", "There is no container astro;"),
    "container of another type": Bad({"container": "../probe"}, "container", "letters, digits"),
    "unknown version": Bad(
        {"version": "27"}, "version", "has no version 27; there is 1 or 0", ["1", "0"]
    ),
    "unknown kind": Bad({"kind": "laptop"}, "kind", "kind must be notebook, desktop"),
    "a batch job as a server": Bad(
        {"container": "astroml", "kind": "headless", "cmd": "true"},
        "kind",
        "Batch jobs are not launched",
        code="not_interactive",
    ),
    "kind the container is not": Bad(
        {"kind": "carta"}, "kind", "it runs as notebook", ["notebook", "headless"]
    ),
    "project not hers": Bad(
        {"projects": ["demo"]}, "projects", "survey", ["survey"], code="not_allowed", by="ben"
    ),
    "project that is none": Bad(
        {"projects": ["nosuch"]},
        "projects",
        "yours are demo",
        ["demo", "survey"],
        code="not_allowed",
    ),
    "16.9 cores": size("cores", 16.9, CORES),
    "NaN cores": number("cores", float("nan")),
    "infinite cores": number("cores", float("inf")),
    "a thousand million cores": size("cores", 10**9, CORES),
    "a number with a space": number("memory", "4 "),
    "memory between": size("memory", 5, MEMORY),
    "negative memory": number("memory", -4),
    "a GPU where there is none": Bad({"gpus": 1}, "gpus", "", ["0"]),
    "cores with flexible": Bad({"mode": "flexible", "cores": 2}, "cores", "flexible"),
    "fixed without memory": Bad({"mode": "fixed", "cores": 2}, "memory", "memory"),
    "unknown mode": Bad({"mode": "huge"}, "mode", "flexible or fixed", ["flexible", "fixed"]),
    "name of 300 characters": name("x" * 300),
    "name with ../": name("../../etc/passwd"),
    "name with {user}": name("{user}"),
    "name with {{": name("{{ 7 * 7 }}"),
    "name with newline": name("two\nlines"),
    "name with markup": name("<img src=x onerror=alert(1)>"),
    "name of 10 MB": name("x" * TEN_MB),
    "unknown option": Bad({"uid": "0"}, "uid", "is not a field", code="unknown_field"),
    "unknown option volumes": Bad(
        {"volumes": "/"}, "volumes", "is not a field", code="unknown_field"
    ),
    "look-alike host": Bad(
        {"image": "images.canfar.net.evil.org/x/y:1", "kind": "notebook"},
        "image",
        "images.canfar.net.evil.org/x are not started here",
        base={},
        code="image_not_allowed",
    ),
    "allowed image, no program": Bad(
        {"image": "images.canfar.net/skaha/other:1", "kind": "notebook"},
        "image",
        "need a cluster; on this machine choose one of the containers:",
        base={},
        code="needs_cluster",
    ),
    "shown, but not here": Bad(
        {"container": "firefly"}, "container", "Firefly", base={}, code="needs_cluster"
    ),
    "old version": Bad(
        {"version": "0"}, "version", "This machine has Probe 1 only", ["1"], code="needs_cluster"
    ),
    "nothing chosen": Bad({}, "container", "Choose a container", base={}),
    "both container and image": Bad(
        {"image": "images.canfar.net/skaha/x:1"}, "container", "not both"
    ),
    "cmd of a notebook": Bad({"cmd": "/bin/sh"}, "cmd", "Only batch jobs take cmd"),
    "open outside": Bad({"open": "/arc/home/ben/x.ipynb"}, "open", "/arc/home/ada"),
    "open above": Bad({"open": "/arc/home/ada/../ben"}, "open", ""),
    "container is a number": swapped("container", 5, "must be text"),
    "version is a number": swapped("version", 1, "must be text"),
    "kind is a list": swapped("kind", ["notebook"], "kind must be"),
    "name is an object": swapped("name", {"a": 1}, "must be text"),
    "mode is a truth": swapped("mode", ON, "flexible or fixed"),
    "cores is text": swapped("cores", "2", "plain number"),
    "memory is a list": swapped("memory", [4], "plain number"),
    "gpus is a truth": swapped("gpus", ON, "plain number"),
    "projects is text": swapped("projects", "demo", "list of texts"),
    "projects of numbers": swapped("projects", [1], "list of texts"),
    "env is a list": swapped("env", ["A=1"], "env must give a text"),
    "env of the platform": swapped("env", {"JUPYTERHUB_API_TOKEN": "x"}, "set by the platform"),
    "10 000 variables": swapped("env", {f"V{n}": "" for n in range(10_000)}, "at most 200"),
    "half a surrogate pair": swapped("name", "\ud800", "cannot be a name"),
}
BY_FORM = [case for case, bad in CASES.items() if not bad.api_only]
IDS = {
    "upper case": "ABCDEFGH",
    "seven": "abcdefg",
    "nine": "abcdefghi",
    "two dashes": "a--b",
    "digit first": "1bcdefgh",
    "braces": "%7Buser%7D",
    "newline": "abcdefg%0a",
}


@dataclass
class Looks:
    """What the hub has stored, started and logged."""

    hub: Hub
    start: int = 0

    def state(self) -> set[object]:
        """Give everything that a refusal must leave as it is, or that goes of itself."""
        rows = self.hub.rows("select id, name, state, user_options from spawners where name != ''")
        stored = self.hub.rows("select user_options from spawners where name = ''")
        assert {options for (options,) in stored} <= {None, "{}"}
        tokens = self.hub.rows("select id, note from api_tokens")
        runs = (path.name for path in (self.hub.data / "run").iterdir())
        return {*rows, *tokens, *runs}

    def log(self) -> str:
        """Give what the hub has logged since the test began."""
        return self.hub.log.read_bytes()[self.start :].decode()


@pytest.fixture(scope="module")
def visitors(hub: Hub, ada: Visitor, ben: Visitor) -> dict[str, Visitor]:
    """Sign both in, and let ben use up an id: the row of a failed start is kept for a while."""
    ben.launch("usedonce", container="broken")
    wait_for(lambda: not hub.launches(), "the program to end")
    wait_for(lambda: (ben.server("usedonce") or {}).get("stopped"), "the failure to be known")
    return {"ada": ada, "ben": ben}


@pytest.fixture(autouse=True)
def looks(hub: Hub, visitors: dict[str, Visitor]) -> Iterator[Looks]:
    """See that nothing but a refusal has come of a test."""
    del visitors  # what they do at first is not a test's
    found = Looks(hub, hub.log.stat().st_size)
    before = found.state()
    yield found
    assert not found.state() - before
    log = found.log()
    assert "Traceback" not in log, log
    assert not [line for line in log.splitlines() if " 500 " in line], log
    assert max(map(len, log.splitlines()), default=0) <= 1024


def by_form(visitor: Visitor, fields: dict[str, Any]) -> tuple[int, str]:
    answer = visitor.launch_by_form("badform1", fields)
    return answer.status_code, html.unescape(answer.text)


@pytest.mark.parametrize("case", CASES)
def test_the_api_refuses(visitors: dict[str, Visitor], case: str) -> None:
    bad = CASES[case]
    visitor = visitors[bad.by]
    # As bytes: the client's own JSON would not write NaN or half a pair.
    body = json.dumps({"user_options": bad.body()}).encode()
    answer = visitor.api("POST", f"/users/{bad.by}/servers/badinput", content=body)
    assert answer.status_code == 400, answer.text
    refusal = answer.json()
    assert refusal["field"] == bad.field, refusal
    assert refusal["code"] == bad.code, refusal
    assert bad.words in refusal["message"], refusal
    assert len(refusal["message"]) < 600
    if bad.allowed is not None:
        assert refusal["allowed"] == bad.allowed


@pytest.mark.parametrize("case", BY_FORM)
def test_the_form_gives_the_same_refusal(visitors: dict[str, Visitor], case: str) -> None:
    bad = CASES[case]
    visitor = visitors[bad.by]
    body = json.dumps({"user_options": bad.body()}).encode()
    refusal = visitor.api("POST", f"/users/{bad.by}/servers/badinput", content=body).json()
    status, page = by_form(visitor, bad.fields())
    assert status == 400
    # Browsers take line ends and what a number looks like as typed; the sentence is the same.
    assert refusal["message"] in page
    if f'id="{bad.field}"' in page:
        at = page.index(f'id="{bad.field}-refusal"')
        assert refusal["message"] in page[at : at + 2000]


@pytest.mark.parametrize("wrong", IDS)
def test_an_id_that_is_none_is_refused(ada: Visitor, wrong: str) -> None:
    answer = ada.api(
        "POST", f"/users/ada/servers/{IDS[wrong]}", json={"user_options": {"container": "probe"}}
    )
    assert answer.status_code == 400, answer.text
    assert answer.json()["field"] == "session"
    assert "is not a session id" in answer.json()["message"]
    page = ada.launch_by_form(IDS[wrong], {"container": "probe"})
    assert page.status_code == 400
    assert answer.json()["message"] in html.unescape(page.text)


def test_display_name_is_refused_by_name(ada: Visitor) -> None:
    body = {"display_name": "x", "user_options": {"container": "probe"}}
    answer = ada.api("POST", "/users/ada/servers/badinput", json=body)
    assert (answer.status_code, answer.json()["field"]) == (400, "display_name")


BODIES = {
    "broken JSON": b'{"user_options": {"container": ',
    "deep JSON": b'{"user_options": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "deep option": b'{"user_options": {"env": ' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}}",
    "a list": b"[]",
    "a list of something": b"[1]",
    "text": b'"container"',
    "options are a list": b'{"user_options": [1]}',
    "options are text": b'{"user_options": "probe"}',
    "no UTF-8": b'{"user_options": {"container": "\xff\xfe"}}',
    "a number of 5000 digits": b'{"user_options": {"container": "probe", "cores": '
    + b"9" * 5000
    + b"}}",
    "nothing": b"",
    "10 MB": b'{"user_options": {"container": "' + b"x" * TEN_MB + b'"}}',
    "10 MB of keys": b'{"user_options": {'
    + b",".join(b'"k%d":1' % n for n in range(TEN_MB // 12))
    + b"}}",
}


@pytest.mark.parametrize("body", BODIES)
def test_a_body_that_is_no_request_is_refused(ada: Visitor, body: str) -> None:
    answer = ada.api("POST", "/users/ada/servers/badinput", content=BODIES[body])
    assert answer.status_code == 400, answer.text[:500]
    assert len(answer.text) < 2000
    assert answer.json()["message"]


@pytest.mark.parametrize(
    "text", [b"container=%ff%fe", b"name=\xff&container=probe", b"%ff=1&container=probe"]
)
def test_a_form_that_is_not_utf8_is_refused(ada: Visitor, text: bytes) -> None:
    answer = ada.client.post(
        "/hub/spawn/ada/badform1",
        content=text + b"&_xsrf=" + ada.xsrf().encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 400, answer.text[:500]


@pytest.mark.parametrize("path", ["home", "spawn", "login", "spawn/ada/badform1", "token"])
def test_an_address_that_is_not_utf8_is_refused(ada: Visitor, path: str) -> None:
    for query in ("opt-name=%ff", "next=%fe&x=1", "a=b&%ff=%c3%28"):
        answer = ada.client.get(f"/hub/{path}?{query}")
        assert answer.status_code == 400, (query, answer.text[:500])
        assert "bytes that are not UTF-8" in answer.text, query


@pytest.mark.parametrize("path", ["/users/ada/server", "/users/ada/servers/"])
def test_a_server_without_a_name_never_starts(ada: Visitor, hub: Hub, path: str) -> None:
    answer = ada.api("POST", path, json={"user_options": {"container": "probe", "name": "kept"}})
    assert answer.status_code in (400, 404), answer.text
    assert not hub.launches()


def test_a_form_without_a_session_never_starts(ada: Visitor, hub: Hub) -> None:
    for path in ("/hub/spawn", "/hub/spawn/ada"):
        answer = ada.client.post(path, data={"container": "probe", "_xsrf": ada.xsrf()})
        assert answer.status_code == 400, answer.text[:500]
    assert not hub.launches()


@pytest.mark.parametrize(("method", "status"), [("PUT", 400), ("PATCH", 404)])
def test_a_session_is_made_in_no_other_way(ada: Visitor, method: str, status: int) -> None:
    body = {"user_options": {"container": "probe"}}
    answer = ada.api(method, "/users/ada/servers/badinput", json=body)
    assert answer.status_code == status, answer.text
    answer = ada.api(method, "/users/ada/servers/badinput", json={"name": "otherone"})
    assert answer.status_code == status, answer.text


def test_a_used_id_is_refused(visitors: dict[str, Visitor]) -> None:
    ben = visitors["ben"]
    answer = ben.launch("usedonce", container="probe")
    assert answer.status_code == 409, answer.text
    assert answer.json()["field"] == "session"
    page = ben.launch_by_form("usedonce", {"container": "probe"})
    assert page.status_code == 409
    # Who fills in a form has not chosen its id.
    assert "This form has launched a session already." in html.unescape(page.text)


@pytest.mark.parametrize("change", [{"name": "renamed1"}, {"name": "../../x"}, {"name": ""}])
def test_a_session_keeps_its_id(visitors: dict[str, Visitor], change: dict[str, str]) -> None:
    answer = visitors["ben"].api("PATCH", "/users/ben/servers/usedonce", json=change)
    assert answer.status_code in (400, 409), answer.text


def test_changed_options_are_stored_as_a_launch_would_store_them(
    visitors: dict[str, Visitor], hub: Hub
) -> None:
    ben = visitors["ben"]

    def stored() -> object:
        return hub.rows("select user_options from spawners where name = 'usedonce'")[0][0]

    before = stored()
    secret = {"container": "broken", "env": {"CANARY": "never stored"}}
    for options in ({"uid": 0}, {"container": 5}, {"container": "x" * 100}):
        answer = ben.api("PATCH", "/users/ben/servers/usedonce", json={"user_options": options})
        assert answer.status_code == 200, answer.text
        assert stored() == "{}"
    ben.api("PATCH", "/users/ben/servers/usedonce", json={"user_options": secret})
    assert stored() == before
