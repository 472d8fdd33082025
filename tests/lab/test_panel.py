"""What the panel's routes answer to a session's owner, to a visitor, and to whoever is neither."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support import shares as calls
from tests.support.guest import Guest, enter_page
from tests.support.hub import Hub, Visitor, wait_for
from tests.support.lab import Lab, launch_lab
from tests.support.lab_server import LabServer
from tests.support.labpanel import Area

pytestmark = pytest.mark.environment("notebook")

SESSION = "panelask"


@pytest.fixture(scope="module")
def lab(ada: Visitor) -> Iterator[Lab]:
    yield launch_lab(ada, SESSION, container="notebook")
    ada.stop(SESSION)


@pytest.fixture
def visitor(ada: Visitor, ben: Visitor, lab: Lab) -> Iterator[Guest]:
    """Let ben in by the session manager."""
    calls.share(ada, lab.session, user="ben")
    yield Guest(ben, "ada", lab.session)
    calls.revoke(ada, lab.session)


def test_the_owner_is_told_of_her_session_and_extends_it(lab: Lab) -> None:
    here = lab.call("GET", "canfar/here").json()
    assert (here["person"], here["owner"], here["visitor"]) == ("ada", "ada", False)
    assert here["session"] == SESSION
    assert here["home"].endswith("/hub/home")
    session = lab.call("GET", "canfar/session").json()
    assert (session["id"], session["title"], session["enforced"]) == (SESSION, "Notebook", False)
    assert lab.call("POST", "canfar/session/extend").status_code == 200
    assert lab.call("GET", "canfar/session").json()["ends"] > session["ends"]
    renamed = lab.call("PATCH", "canfar/session", json={"name": "M31"})
    assert (renamed.status_code, renamed.json()["name"]) == (200, "M31")


def test_the_owner_shares_and_revokes(ada: Visitor, lab: Lab) -> None:
    made = lab.call("POST", "canfar/sharing/shares", json={"user": "ben"})
    assert made.status_code == 201, made.text
    seen = lab.call("GET", "canfar/sharing").json()
    assert [each["name"] for each in seen["visitors"]] == ["ben"]
    assert seen["means"].startswith("Whoever enters works as you")
    gone = lab.call("DELETE", f"canfar/sharing/shares?share={made.json()['id']}")
    assert (gone.status_code, gone.json()["status"]) == (200, 204)
    assert calls.shares(ada, SESSION) == []
    told = [line["deed"] for line in lab.call("GET", "canfar/sharing/audit").json()]
    assert told[-2:] == ["shared", "revoked"]


def test_a_refusal_says_what_was_wrong(lab: Lab) -> None:
    refused = lab.call("POST", "canfar/sharing/shares", json={"link": True, "people": 1000})
    assert refused.status_code == 400
    assert "50" in refused.json()["message"]
    assert refused.json()["field"] == "people"


def test_a_visitor_is_told_whose_it_is_and_decides_nothing(ada: Visitor, visitor: Guest) -> None:
    here = visitor.call("GET", "canfar/here").json()
    assert (here["person"], here["owner"], here["visitor"]) == ("ben", "ada", True)
    seen = visitor.call("GET", "canfar/session").json()
    assert seen["owner"] == "ada"
    assert seen["ends"]
    assert not {"projects", "shares", "image", "runAsUID", "node"} & set(seen)
    for method, path, body in (
        ("POST", "session/extend", None),
        ("PATCH", "session", {"name": "mine"}),
        ("DELETE", "session", None),
        ("GET", "sharing", None),
        ("GET", "sharing/audit", None),
        ("POST", "sharing/shares", {"user": "admin"}),
        ("DELETE", "sharing/shares", None),
    ):
        answer = visitor.call(method, f"canfar/{path}", json=body)
        assert answer.status_code == 403, (method, path, answer.text)
        assert "ada" in answer.json()["message"] or "owner" in answer.json()["message"], answer.text
    assert [each["whom"] for each in calls.shares(ada, SESSION)] == ["ben"]
    assert ada.server(SESSION) is not None


def test_the_owner_sees_all_her_storage_and_what_becomes_of_it(lab: Lab) -> None:
    areas = {area["id"]: area for area in lab.call("GET", "canfar/storage/areas").json()["areas"]}
    assert [areas[name]["persistence"] for name in ("home", "projects", "scratch")] == [
        "kept",
        "kept",
        "wiped",
    ]
    assert (areas["home"]["arc"], areas["home"]["contents"]) == ("/arc/home/ada", "home")
    projects = lab.call("GET", "canfar/storage/list?area=projects").json()
    assert projects["names"] == ["demo", "survey"]
    made = lab.call("POST", "canfar/storage/folder", json={"area": "home", "path": "made"})
    assert (made.status_code, made.json()["arc"]) == (201, "/arc/home/ada/made")
    owner = lab.call("GET", "canfar/storage/list?area=home").json()
    assert owner["owners"] == ["ada"]


def test_files_are_the_owners_alone_whoever_else_may_enter(lab: Lab, visitor: Guest) -> None:
    gone = lab.call("GET", "canfar/storage/tasks/none")
    assert gone.status_code == 404
    for method, path in (
        ("GET", "storage/areas"),
        ("GET", "storage/list?area=home"),
        ("GET", "storage/entry?area=home"),
        ("GET", "storage/usage?area=home"),
        ("POST", "storage/folder"),
        ("POST", "storage/rename"),
        ("POST", "storage/tasks"),
        ("GET", "storage/tasks/none"),
        ("GET", "files?area=home&path=x"),
        ("GET", "transfers"),
        ("POST", "transfers"),
        ("GET", "previews/fits?area=home&path=x"),
    ):
        answer = visitor.call(method, f"canfar/{path}", json={} if method == "POST" else None)
        assert answer.status_code == 403, (method, path, answer.text)
        assert answer.json()["message"].startswith("These files belong to ada")


READS = (
    ("GET", "storage/areas", None),
    ("GET", "storage/list?area=home", None),
    ("GET", "storage/entry?area=home&path=lent.csv", None),
    ("GET", "storage/usage?area=home", None),
    ("GET", "previews/table?area=home&path=lent.csv", None),
    ("POST", "storage/tasks", {"what": "search", "area": "home", "text": "lent"}),
    ("POST", "storage/tasks", {"what": "measure", "area": "home", "paths": ["lent.csv"]}),
)
CHANGES = (
    ("POST", "storage/folder", {"area": "home", "path": "bens"}),
    ("POST", "storage/rename", {"area": "home", "path": "lent.csv", "name": "bens.csv"}),
    ("POST", "storage/tasks", {"what": "delete", "area": "home", "paths": ["lent.csv"]}),
    ("GET", "files?area=home&path=lent.csv", None),
    ("GET", "transfers", None),
    ("DELETE", "transfers", None),
    ("POST", "transfers", {"kind": "copy"}),
    ("POST", "transfers/000000000000/pause", {}),
    ("PUT", "transfers/000000000000/content", {}),
    ("GET", "transfers/000000000000/digest", None),
)


def test_a_share_opens_storage_for_reading_and_for_nothing_else(
    ada: Visitor, ben: Visitor, lab: Lab
) -> None:
    home = Area(ada.hub.data / "arc" / "home" / "ada")
    home.write("lent.csv", b"a,b\n1,2\n")
    guest = Guest(ben, "ada", lab.session)
    calls.share(ada, lab.session, user="ben", storage=True)
    try:
        # What was said of him a moment ago, without this share, still counts.
        wait_for(
            lambda: guest.call("GET", "canfar/storage/areas").status_code == 200,
            "storage to be opened",
        )
        assert guest.call("GET", "canfar/session").json()["visitStorage"] is True
        for method, path, body in READS:
            answer = guest.call(method, f"canfar/{path}", json=body)
            assert answer.status_code in {200, 201}, (method, path, answer.text)
        assert all(
            not area["writable"]
            for area in guest.call("GET", "canfar/storage/areas").json()["areas"]
        )
        seen = guest.call("GET", "canfar/storage/list?area=home").json()
        assert "lent.csv" in seen["names"]
        assert seen["writable"] is False
        assert lab.call("GET", "canfar/storage/list?area=home").json()["writable"] is True
        for method, path, body in CHANGES:
            answer = guest.call(method, f"canfar/{path}", json=body)
            assert answer.status_code == 403, (method, path, answer.text)
            assert "to read only" in answer.json()["message"], (method, path, answer.text)
        assert (home.root / "lent.csv").read_bytes() == b"a,b\n1,2\n"
        # Another deletion of hers is no business of his either.
        home.write("gone.csv")
        begun = lab.call(
            "POST",
            "canfar/storage/tasks",
            json={"what": "delete", "area": "home", "paths": ["gone.csv"]},
        ).json()
        for method in ("GET", "DELETE"):
            answer = guest.call(method, f"canfar/storage/tasks/{begun['id']}")
            assert answer.status_code == 403, (method, answer.text)

        # Shared once more, without storage: he stays, and it is closed.
        calls.share(ada, lab.session, user="ben")
        wait_for(
            lambda: guest.call("GET", "canfar/storage/areas").status_code == 403,
            "storage to be closed",
        )
        for method, path, body in READS:
            answer = guest.call(method, f"canfar/{path}", json=body)
            assert answer.status_code == 403, (method, path, answer.text)
            assert answer.json()["message"].startswith("These files belong to ada")
        assert guest.call("GET", "canfar/here").status_code == 200
    finally:
        calls.revoke(ada, lab.session)


def test_a_visitor_leaves_and_is_out(ada: Visitor, visitor: Guest) -> None:
    assert visitor.call("DELETE", "canfar/visit").status_code == 200
    assert calls.shares(ada, SESSION) == []


def test_a_forged_form_changes_nothing(ada: Visitor, lab: Lab) -> None:
    enter_page(ada, f"/user/ada/{lab.session}/lab")
    for method, path in (
        ("POST", "sharing/shares"),
        ("POST", "session/extend"),
        ("DELETE", "session"),
        ("POST", "storage/folder"),
        ("POST", "storage/rename"),
        ("POST", "storage/tasks"),
        ("POST", "transfers"),
    ):
        answer = ada.client.request(method, f"/user/ada/{SESSION}/canfar/{path}")
        assert answer.status_code == 403, (path, answer.text)
    assert ada.server(SESSION) is not None


def test_nobody_without_a_name_is_told_anything(hub: Hub, lab: Lab) -> None:
    for path in ("here", "session", "sharing", "sharing/audit", "session/scratch"):
        address = f"{hub.url}/user/ada/{lab.session}/canfar/{path}"
        answer = httpx.get(address, timeout=60)
        assert answer.status_code in {302, 403}, path
        assert "ada" not in answer.text.replace("/user/ada/", "")


def test_without_a_hub_there_is_nothing_to_tell(lab_server: LabServer) -> None:
    for path in ("here", "session", "sharing"):
        answer = lab_server.call("GET", path)
        assert answer.status_code == 404
        assert answer.json()["message"].startswith("No hub started this server")
