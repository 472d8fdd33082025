"""The storage API of a real Jupyter server: what it lists, finds, changes and refuses."""

from __future__ import annotations

import os
import stat
import time
import uuid
from pathlib import Path

import pytest

from tests.support.hub import wait_for
from tests.support.lab_server import LabServer


@pytest.fixture
def folder(lab_server: LabServer) -> Path:
    """Give a folder in home that nobody else uses."""
    path = lab_server.storage.home / uuid.uuid4().hex
    path.mkdir()
    return path


def listed(server: LabServer, folder: Path, **parameters: object) -> dict[str, object]:
    found: dict[str, object] = server.ask(
        "storage/list", area="home", path=folder.name, **parameters
    )
    return found


def test_areas_say_what_becomes_of_files(lab_server: LabServer) -> None:
    answer = lab_server.ask("storage/areas")
    assert answer["api"] == 1
    storage = lab_server.storage
    found = {area["id"]: area for area in answer["areas"]}
    assert list(found) == ["home", "projects", "scratch"]
    assert found["home"]["path"] == str(storage.home)
    assert found["home"]["persistence"] == "unknown"
    assert found["scratch"]["persistence"] == "wiped"
    assert found["scratch"]["arc"] is None
    assert [area["contents"] for area in found.values()] == ["home", "projects", "scratch"]


def test_a_folder_is_listed_in_natural_order(lab_server: LabServer, folder: Path) -> None:
    for name in ("cal10.fits", "cal9.fits", "Cal2.fits", "b", "cal9.txt", ".hidden"):
        (folder / name).write_text("12345")
    (folder / "zoo").mkdir()
    (folder / ".canfar-17.part").touch()
    page = listed(lab_server, folder)
    assert page["names"] == ["zoo", "b", "Cal2.fits", "cal9.fits", "cal9.txt", "cal10.fits"]
    assert page["types"] == "dfffff"
    assert page["sizes"][1:] == [5] * 5
    assert page["total"] == page["all"] == 6
    assert page["folder"] == str(folder)
    assert page["writable"] is True
    assert page["owners"][page["owner"][0]]
    assert page["groups"][page["group"][0]]
    assert page["modes"][1] == stat.S_IFREG | (folder / "b").stat().st_mode & 0o777
    hidden = listed(lab_server, folder, hidden="1")
    assert hidden["names"][1] == ".hidden"
    assert hidden["total"] == 7
    assert listed(lab_server, folder, filter="CAL9")["names"] == ["cal9.fits", "cal9.txt"]
    assert listed(lab_server, folder, order="desc")["names"][:2] == ["zoo", "cal10.fits"]
    assert listed(lab_server, folder, sort="type")["names"][1] == "b"


def test_size_and_time_are_orders_too(lab_server: LabServer, folder: Path) -> None:
    for number, (name, size) in enumerate({"a": 3, "b": 1, "c": 2}.items()):
        (folder / name).write_bytes(bytes(size))
        os.utime(folder / name, (1000 + number, 1000 + number))
    assert listed(lab_server, folder, sort="size")["names"] == ["b", "c", "a"]
    assert listed(lab_server, folder, sort="modified", order="desc")["names"] == ["c", "b", "a"]
    assert listed(lab_server, folder, sort="modified")["modified"] == [1000, 1001, 1002]


def test_pages_of_one_state_fit_together(lab_server: LabServer, folder: Path) -> None:
    for number in range(20):
        (folder / f"f{number}").touch()
    first = listed(lab_server, folder, limit=10)
    assert first["names"] == [f"f{number}" for number in range(10)]
    (folder / "f0").unlink()
    (folder / "a").touch()
    second = listed(lab_server, folder, limit=10, offset=10, generation=first["generation"])
    assert second["names"] == [f"f{number}" for number in range(10, 20)]
    assert second["changed"] is True
    anew = listed(lab_server, folder, limit=10)
    assert anew["generation"] != first["generation"]
    assert anew["names"][:2] == ["a", "f1"]
    gone = listed(lab_server, folder, limit=10, generation="never.1")
    assert (gone["generation"], gone["changed"]) == (anew["generation"], False)
    (folder / "below").mkdir()
    other = lab_server.ask(
        "storage/list", area="home", path=f"{folder.name}/below", generation=first["generation"]
    )
    assert (other["names"], other["changed"]) == ([], False)
    (folder / "below").rmdir()
    around = listed(lab_server, folder, limit=5, around="f17")
    assert (around["row"], around["offset"]) == (17, 15)
    assert around["names"][2] == "f17"


def test_every_change_is_seen_at_once(lab_server: LabServer, folder: Path) -> None:
    for number in range(25):
        (folder / f"n{number}").touch()
        assert listed(lab_server, folder)["total"] == number + 1


def test_an_answer_is_compressed_where_that_is_taken(lab_server: LabServer, folder: Path) -> None:
    for number in range(500):
        (folder / f"cal_{number:06}.fits").touch()
    path = f"storage/list?area=home&path={folder.name}"
    squeezed = lab_server.call("GET", path, headers={"Accept-Encoding": "gzip"})
    plain = lab_server.call("GET", path, headers={"Accept-Encoding": "identity"})
    assert squeezed.json() == plain.json()
    assert squeezed.headers["content-encoding"] == "gzip"
    assert int(squeezed.headers["content-length"]) < 10_000 < int(plain.headers["content-length"])
    again = {"If-None-Match": plain.headers["etag"], "Accept-Encoding": "identity"}
    assert lab_server.call("GET", path, headers=again).status_code == 304


def test_names_that_are_no_text_are_names(lab_server: LabServer, folder: Path) -> None:
    odd = os.fsencode(folder) + b"/\xff\xfe <b>\n&\xc3\xa9"
    os.mkdir(odd)  # noqa: PTH102 - a name of bytes
    page = listed(lab_server, folder)
    assert page["names"] == [os.fsdecode(b"\xff\xfe <b>\n&\xc3\xa9")]
    inside = lab_server.call(
        "GET", f"storage/list?area=home&path={folder.name}/%FF%FE%20%3Cb%3E%0A%26%C3%A9"
    )
    assert inside.status_code == 200
    assert inside.json()["total"] == 0
    renamed = lab_server.tell(
        "storage/rename", area="home", path=f"{folder.name}/{page['names'][0]}", name="plain"
    )
    assert renamed["path"] == f"{folder.name}/plain"


def test_links_lead_within_the_areas_and_nowhere_else(lab_server: LabServer, folder: Path) -> None:
    storage = lab_server.storage
    inside = storage.projects / "survey" / folder.name
    inside.mkdir()
    (inside / "image.fits").write_text("x")
    targets = {
        "absolute": str(inside),
        "relative": f"../../../projects/survey/{folder.name}/image.fits",
        "out": "/etc",
        "foreign": str(storage.projects / "foreign"),
        "gone": "nothing",
        "round": "round",
    }
    for name, target in targets.items():
        (folder / name).symlink_to(target)
    page = listed(lab_server, folder)
    types = dict(zip(page["names"], page["types"], strict=True))
    assert types == dict.fromkeys(targets, "x") | {"absolute": "k", "relative": "l"}
    assert page["links"][str(page["names"].index("out"))] == "/etc"
    there = lab_server.ask("storage/list", area="home", path=f"{folder.name}/absolute")
    assert (there["area"], there["path"]) == ("projects", f"survey/{folder.name}")
    file = lab_server.ask("storage/entry", area="home", path=f"{folder.name}/relative")
    assert (file["area"], file["type"], file["size"]) == ("projects", "f", 1)
    for name in ("out", "foreign", "gone", "round"):
        answer = lab_server.call("GET", f"storage/list?area=home&path={folder.name}/{name}")
        assert answer.status_code in {403, 404, 409}, name
        assert answer.json()["message"]


def test_only_the_sessions_own_projects_are_there(lab_server: LabServer) -> None:
    page = lab_server.ask("storage/list", area="projects")
    assert page["names"] == ["demo", "survey"]
    assert page["writable"] is False
    answer = lab_server.call("GET", "storage/list?area=projects&path=foreign")
    assert answer.status_code == 404
    for route, fields in (
        ("folder", {"path": "mine"}),
        ("folder", {"path": "foreign/x"}),
        ("rename", {"path": "demo", "name": "other"}),
        ("tasks", {"what": "delete", "paths": ["demo"]}),
        ("tasks", {"what": "delete", "paths": [""]}),
    ):
        refused = lab_server.call("POST", f"storage/{route}", json={"area": "projects", **fields})
        assert refused.status_code in {403, 404}, (route, fields)
    assert (lab_server.storage.projects / "demo").is_dir()


def test_a_path_is_found_however_it_is_written(lab_server: LabServer, folder: Path) -> None:
    (folder / "x").touch()
    for at in (f"{folder}/x", f"{folder}//./x", f"~/{folder.name}/x"):
        found = lab_server.ask("storage/entry", at=at)
        assert (found["area"], found["path"]) == ("home", f"{folder.name}/x")
    for at in ("/etc/passwd", "relative", f"{lab_server.storage.home}-other"):
        answer = lab_server.call("GET", "storage/entry", params={"at": at})
        assert answer.status_code in {400, 404}


def test_folders_are_made_and_renamed_and_nothing_is_replaced(
    lab_server: LabServer, folder: Path
) -> None:
    made = lab_server.call(
        "POST", "storage/folder", json={"area": "home", "path": f"{folder.name}/new"}
    )
    assert made.status_code == 201
    assert made.json()["type"] == "d"
    (folder / "file").write_text("keep")
    (folder / "other").write_text("this too")
    for body, status in (
        ({"area": "home", "path": f"{folder.name}/new"}, 409),
        ({"area": "home", "path": f"{folder.name}/no/new"}, 404),
        ({"area": "home", "path": f"{folder.name}/file/new"}, 409),
        ({"area": "home", "path": f"{folder.name}/{'n' * 256}"}, 400),
        ({"area": "home"}, 400),
        ({"area": "home", "path": 3}, 400),
        ({"area": "nowhere", "path": "x"}, 404),
        ({"area": "home", "path": "x", "uid": 0}, 400),
    ):
        answer = lab_server.call("POST", "storage/folder", json=body)
        assert answer.status_code == status, (body, answer.text)
        assert answer.json()["message"][0].isupper() or answer.json()["message"]
    for name in ("file", "new"):
        answer = lab_server.call(
            "POST",
            "storage/rename",
            json={"area": "home", "path": f"{folder.name}/other", "name": name},
        )
        assert (answer.status_code, answer.json()["code"]) == (409, "exists")
    renamed = lab_server.tell(
        "storage/rename", area="home", path=f"{folder.name}/new", name="old 2"
    )
    assert renamed["name"] == "old 2"
    assert sorted(path.name for path in folder.iterdir()) == ["file", "old 2", "other"]
    assert (folder / "file").read_text() == "keep"


def test_a_search_finds_names_in_all_folders_below(lab_server: LabServer, folder: Path) -> None:
    deep = folder / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (deep / "M31_Final.fits").write_text("abc")
    (folder / "a" / "m31").mkdir()
    (folder / "a" / ".m31-hidden").touch()
    (folder / "m31.txt").symlink_to("/etc/passwd")
    task = lab_server.tell(
        "storage/tasks", what="search", area="home", path=folder.name, text="m31"
    )
    done = lab_server.finish(task)
    assert done["state"] == "done"
    assert {(hit["path"], hit["type"]) for hit in done["hits"]} == {
        (f"{folder.name}/a/b/c/M31_Final.fits", "f"),
        (f"{folder.name}/a/m31", "d"),
        (f"{folder.name}/m31.txt", "l"),
    }
    pattern = lab_server.tell(
        "storage/tasks", what="search", area="home", path=folder.name, text="*.FITS"
    )
    assert [hit["size"] for hit in lab_server.finish(pattern)["hits"]] == [3]


def test_what_is_deleted_is_said_first_and_links_are_not_followed(
    lab_server: LabServer, folder: Path
) -> None:
    tree = folder / "tree"
    (tree / "sub" / "deeper").mkdir(parents=True)
    (tree / "one").write_bytes(bytes(1000))
    (tree / "sub" / "two").write_bytes(bytes(500))
    kept = folder / "kept"
    kept.mkdir()
    (kept / "precious").touch()
    (tree / "link").symlink_to(kept)
    paths = [f"{folder.name}/tree"]
    measured = lab_server.finish(
        lab_server.tell("storage/tasks", what="measure", area="home", paths=paths)
    )
    link = len(str(kept))
    assert (measured["files"], measured["folders"]) == (3, 3)
    assert (measured["bytes"], measured["complete"]) == (1500 + link, True)
    deleted = lab_server.finish(
        lab_server.tell("storage/tasks", what="delete", area="home", paths=paths)
    )
    assert (deleted["state"], deleted["error"]) == ("done", None)
    assert (deleted["files"], deleted["folders"]) == (3, 3)
    assert not tree.exists()
    assert (kept / "precious").exists()
    (folder / "alias").symlink_to(kept)
    alias = [f"{folder.name}/alias", f"{folder.name}/kept/precious"]
    lab_server.finish(lab_server.tell("storage/tasks", what="delete", area="home", paths=alias))
    assert list(folder.iterdir()) == [kept]
    assert not list(kept.iterdir())


def test_a_task_is_cancelled(lab_server: LabServer, folder: Path) -> None:
    for number in range(40):
        below = folder / str(number)
        below.mkdir()
        for name in range(50):
            (below / str(name)).touch()
    task = lab_server.tell(
        "storage/tasks", what="search", area="home", path=folder.name, text="no such name"
    )
    answer = lab_server.call("DELETE", f"storage/tasks/{task['id']}")
    assert answer.json()["state"] in {"cancelled", "done"}
    assert lab_server.call("GET", "storage/tasks/unknown").status_code == 404


def test_thousands_of_folders_deep(lab_server: LabServer) -> None:
    root = lab_server.storage.projects / "survey" / "deep"
    root.mkdir()
    at = os.open(root, os.O_RDONLY)
    depth = 5000
    for _ in range(depth):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open("last", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)
    path = "/".join(["survey", "deep", *["d"] * depth])
    page = lab_server.ask("storage/list", area="projects", path=path)
    assert page["names"] == ["last"]
    found = lab_server.finish(
        lab_server.tell("storage/tasks", what="search", area="projects", path="", text="last")
    )
    assert [hit["path"] for hit in found["hits"]] == [f"{path}/last"]
    gone = lab_server.finish(
        lab_server.tell("storage/tasks", what="delete", area="projects", paths=["survey/deep"])
    )
    assert (gone["state"], gone["folders"]) == ("done", depth + 1)
    assert not root.exists()


def test_usage_says_what_its_numbers_are_of(lab_server: LabServer) -> None:
    (lab_server.storage.scratch / "big").write_bytes(bytes(4096))
    scratch = lab_server.ask("storage/usage", area="scratch")
    assert scratch["of"] == "disk"
    assert scratch["used"] >= 4096
    assert scratch["complete"] is True
    home = lab_server.ask("storage/usage", area="home")
    assert home["of"] == "disk"
    assert 0 < home["free"] <= home["limit"]
    assert abs(home["at"] - time.time()) < 60
    assert lab_server.ask("storage/usage", area="projects")["of"] == "unknown"


def test_questions_that_cannot_be_answered_say_what_is_allowed(lab_server: LabServer) -> None:
    for query, word in {
        "area=home&sort=colour": "sort",
        "area=home&order=up": "order",
        "area=home&limit=0": "limit",
        "area=home&limit=5001": "limit",
        "area=home&limit=²": "limit",
        "area=home&offset=-1": "offset",
        f"area=home&offset={'9' * 5000}": "offset",
        "area=home&hidden=yes": "hidden",
        "area=home&uid=0": "uid",
        "area=elsewhere": "elsewhere",
        "": "area",
    }.items():
        answer = lab_server.call("GET", f"storage/list?{query}")
        assert answer.status_code in {400, 404}, query
        assert word in answer.json()["message"]
    for body in (b"", b"{", b"[]", b'"x"', b"[" * 100_000, b"\xff", b'{"area": "home"'):
        answer = lab_server.call("POST", "storage/folder", content=body)
        assert answer.status_code == 400, body[:10]
        assert answer.json()["code"] == "invalid"


def test_a_helper_that_is_killed_is_replaced(lab_server: LabServer, folder: Path) -> None:
    (folder / "x").touch()
    assert listed(lab_server, folder)["total"] == 1
    helpers = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _is_helper(entry, lab_server.process.pid)
    ]
    assert helpers
    for pid in helpers:
        assert b"JUPYTER_TOKEN" not in Path(f"/proc/{pid}/environ").read_bytes()
        os.kill(pid, 9)
    wait_for(lambda: listed(lab_server, folder)["total"] == 1, "an answer")


def _is_helper(process: Path, parent: int) -> bool:
    try:
        line = (process / "cmdline").read_bytes()
        status = (process / "status").read_text()
    except OSError:
        return False
    return b"canfar_lab.storage.worker" in line and f"PPid:\t{parent}\n" in status
