"""Transfers over HTTP: a real Jupyter server sends and receives, is killed, and goes on."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.hub import wait_for
from tests.support.lab_server import LabServer, Storage, running_lab_server

_MB = 1 << 20


@pytest.fixture
def folder(lab_server: LabServer) -> Path:
    """Give a folder in home that nobody else uses."""
    path = lab_server.storage.home / uuid.uuid4().hex
    path.mkdir()
    return path


def to(folder: Path) -> dict[str, str]:
    return {"area": "home", "path": folder.name}


def ended(server: LabServer, job: dict[str, Any]) -> dict[str, Any]:
    """Wait as a page does until a transfer has ended."""
    deadline, version = time.monotonic() + 60, 0
    while time.monotonic() < deadline:
        answer = server.ask("transfers", after=version, wait=5)
        version = answer["version"]
        (found,) = [each for each in answer["transfers"] if each["id"] == job["id"]]
        if found["state"] in {"done", "failed", "cancelled", "paused"}:
            return dict(found)
    raise AssertionError(found)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "files?area=home&path=x"),
        ("GET", "transfers"),
        ("POST", "transfers"),
        ("DELETE", "transfers"),
        ("GET", "transfers/0123456789ab"),
        ("POST", "transfers/0123456789ab/cancel"),
        ("PUT", "transfers/0123456789ab/content"),
        ("GET", "transfers/0123456789ab/digest"),
    ],
)
def test_nobody_is_answered_without_credentials(
    lab_server: LabServer, method: str, path: str
) -> None:
    for headers in ({}, {"Authorization": "token wrong"}):
        answer = httpx.request(
            method, f"{lab_server.url}/canfar/{path}", headers=headers, content=b"x" * 100
        )
        assert answer.status_code == 403
        assert set(answer.json()) == {"code", "message"}


def test_a_download_is_the_file_and_goes_on_where_it_was(
    lab_server: LabServer, folder: Path
) -> None:
    data = os.urandom(3 * _MB + 17)
    (folder / "größe \N{SNOWMAN}.fits").write_bytes(data)
    path = f"{folder.name}/größe \N{SNOWMAN}.fits"
    whole = lab_server.call("GET", "files", params={"area": "home", "path": path})
    assert (whole.status_code, whole.content) == (200, data)
    assert whole.headers["Content-Type"] == "application/octet-stream"
    assert whole.headers["Content-Disposition"].startswith("attachment; filename*=UTF-8''gr%C3%B6")
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    tag = whole.headers["ETag"]

    def part(asked: str, **headers: str) -> httpx.Response:
        return lab_server.call(
            "GET",
            "files",
            params={"area": "home", "path": path},
            headers={"Range": asked, **headers},
        )

    rest = part("bytes=1000000-", **{"If-Range": tag})
    assert (rest.status_code, rest.content) == (206, data[1_000_000:])
    assert rest.headers["Content-Range"] == f"bytes 1000000-{len(data) - 1}/{len(data)}"
    assert part("bytes=0-0").content == data[:1]
    assert part("bytes=-5").content == data[-5:]
    assert part(f"bytes={len(data)}-").status_code == 416
    for odd in (
        "bytes=5-2",
        "bytes=0-1,5-6",
        "lines=1-2",
        "bytes=--",
        "bytes=1-2-3",
    ):
        answer = part(odd)
        assert (answer.status_code, answer.content) == (200, data)
    # Another file of that name: what a browser has of the old one is of no use.
    (folder / "größe \N{SNOWMAN}.fits").write_bytes(data[::-1])
    again = part("bytes=1000000-", **{"If-Range": tag})
    assert (again.status_code, again.content) == (200, data[::-1])
    head = lab_server.call("HEAD", "files", params={"area": "home", "path": path})
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(data)))


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("gone", 404, "not-found"),
        ("", 409, "not-a-file"),
        ("../../etc/passwd", 400, "invalid"),
        ("pipe", 409, "not-a-file"),
        ("out", 403, "not-allowed"),
    ],
)
def test_what_is_no_file_of_hers_is_not_sent(
    lab_server: LabServer, folder: Path, path: str, status: int, code: str
) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "out").symlink_to("/etc/passwd")
    full = f"{folder.name}/{path}" if path else folder.name
    answer = lab_server.call("GET", "files", params={"area": "home", "path": full})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "Content-Disposition" not in answer.headers


def test_an_upload_comes_in_pieces_and_what_is_damaged_is_sent_again(
    lab_server: LabServer, folder: Path
) -> None:
    data = os.urandom(5 * _MB)
    job = lab_server.tell(
        "transfers", kind="upload", to=to(folder), name="m31.fits", size=len(data), checksum=True
    )
    assert (job["state"], job["chunk"]) == ("waiting", 16 * _MB)

    def put(begin: int, end: int, digest: bytes | None = None) -> httpx.Response:
        headers = {"Upload-Offset": str(begin)}
        if digest is not None:
            headers["Content-Digest"] = f"sha-256=:{base64.b64encode(digest).decode()}:"
        return lab_server.call(
            "PUT", f"transfers/{job['id']}/content", content=data[begin:end], headers=headers
        )

    first = put(0, 2 * _MB, hashlib.sha256(data[: 2 * _MB]).digest())
    assert (first.status_code, first.json()["bytes"]["done"]) == (200, 2 * _MB)
    damaged = put(2 * _MB, 3 * _MB, bytes(32))
    assert (damaged.status_code, damaged.json()["code"]) == (400, "digest")
    early = put(0, 10)
    assert (early.status_code, early.json()["code"], early.json()["offset"]) == (
        409,
        "offset",
        2 * _MB,
    )
    compared = lab_server.ask(f"transfers/{job['id']}/digest", start=_MB, end=2 * _MB)
    assert compared["sha256"] == hashlib.sha256(data[_MB : 2 * _MB]).hexdigest()
    assert list(folder.glob("[!.]*")) == []
    last = put(2 * _MB, 5 * _MB)
    assert (last.json()["state"], last.json()["checksum"]) == (
        "done",
        hashlib.sha256(data).hexdigest(),
    )
    assert (folder / "m31.fits").read_bytes() == data
    over = put(5 * _MB, 5 * _MB)
    assert (over.status_code, over.json()["code"]) == (409, "changed")
    for headers in (
        {},
        {"Upload-Offset": "x"},
        {"Upload-Offset": "0", "Content-Digest": "md5=:x:"},
    ):
        answer = lab_server.call(
            "PUT", f"transfers/{job['id']}/content", content=b"x", headers=headers
        )
        assert answer.json()["code"] in {"invalid", "changed"}


def test_what_came_before_a_connection_broke_is_kept(lab_server: LabServer, folder: Path) -> None:
    data = os.urandom(8 * _MB)
    job = lab_server.tell("transfers", kind="upload", to=to(folder), name="big", size=len(data))
    address = httpx.URL(lab_server.url)
    with socket.create_connection((address.host, address.port or 80)) as connection:
        head = (
            f"PUT {address.path.rstrip('/')}/canfar/transfers/{job['id']}/content HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: token {lab_server.token}\r\nUpload-Offset: 0\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        )
        connection.sendall(head.encode() + data[: 3 * _MB])
        wait_for(
            lambda: lab_server.ask(f"transfers/{job['id']}")["bytes"]["done"] >= _MB, "some of it"
        )
    wait_for(lambda: lab_server.ask(f"transfers/{job['id']}")["state"] == "waiting", "its end")
    kept = lab_server.ask(f"transfers/{job['id']}")["bytes"]["done"]
    assert _MB <= kept <= 3 * _MB
    answer = lab_server.call(
        "PUT",
        f"transfers/{job['id']}/content",
        content=data[kept:],
        headers={"Upload-Offset": str(kept)},
    )
    assert answer.json()["state"] == "done"
    assert (folder / "big").read_bytes() == data


def test_copies_are_listed_as_they_go_and_forgotten(lab_server: LabServer, folder: Path) -> None:
    (folder / "a.fits").write_bytes(os.urandom(_MB))
    job = lab_server.tell(
        "transfers",
        kind="copy",
        **{"from": {"area": "home", "paths": [f"{folder.name}/a.fits"]}},
        to={"area": "scratch", "path": ""},
        name=folder.name,
        checksum=True,
    )
    found = ended(lab_server, job)
    assert (found["state"], found["bytes"]) == ("done", {"done": _MB, "total": _MB})
    assert found["checksum"] == hashlib.sha256((folder / "a.fits").read_bytes()).hexdigest()
    assert (lab_server.storage.scratch / folder.name).is_file()
    assert lab_server.call("DELETE", f"transfers/{job['id']}").status_code == 200
    assert lab_server.call("GET", f"transfers/{job['id']}").status_code == 404
    refused = lab_server.call("POST", "transfers", content=b"[")
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid")


def test_nobody_waits_for_what_is_there_already(lab_server: LabServer) -> None:
    version = lab_server.ask("transfers")["version"]
    begun = time.monotonic()
    lab_server.ask("transfers", after=version - 1, wait=30)
    assert time.monotonic() - begun < 10
    assert lab_server.ask("transfers", after=version, wait=1)["version"] == version


@pytest.fixture
def own(requires: Callable[[str], None]) -> Iterator[Storage]:
    requires("notebook")
    base = Path(tempfile.mkdtemp(prefix="canfar-lab-"))
    try:
        yield Storage(base)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def test_a_server_that_is_killed_goes_on_with_all_of_them(own: Storage) -> None:
    data = os.urandom(4 * _MB)
    size = 256 * _MB
    with (own.home / "big").open("wb") as file:
        for _ in range(size // len(data)):
            file.write(data)
    with running_lab_server(own) as server:
        upload = server.tell(
            "transfers", kind="upload", to={"area": "home", "path": ""}, name="up", size=len(data)
        )
        server.call(
            "PUT",
            f"transfers/{upload['id']}/content",
            content=data[:_MB],
            headers={"Upload-Offset": "0"},
        )
        copy = server.tell(
            "transfers",
            kind="copy",
            **{"from": {"area": "home", "paths": ["big"]}},
            to={"area": "scratch", "path": ""},
            checksum=True,
        )
        with httpx.stream(
            "GET",
            f"{server.url}/canfar/files?area=home&path=big",
            headers={"Authorization": f"token {server.token}"},
        ) as download:
            tag = download.headers["ETag"]
            received = bytearray(next(download.iter_raw(_MB)))
            wait_for(lambda: server.ask(f"transfers/{copy['id']}")["bytes"]["done"] > 0, "the copy")
            server.process.kill()
            server.process.wait()

    assert [path.name for path in own.scratch.iterdir()] in (
        [f".canfar-{copy['id']}.part"],
        ["big"],
    )
    with running_lab_server(own) as server:
        found = ended(server, copy)
        assert (found["state"], found["error"]) == ("done", None)
        whole = hashlib.sha256((own.home / "big").read_bytes()).hexdigest()
        assert found["checksum"] == whole
        assert hashlib.sha256((own.scratch / "big").read_bytes()).hexdigest() == whole

        found = server.ask(f"transfers/{upload['id']}")
        assert (found["state"], found["bytes"]["done"]) == ("waiting", _MB)
        answer = server.call(
            "PUT",
            f"transfers/{upload['id']}/content",
            content=data[_MB:],
            headers={"Upload-Offset": str(_MB)},
        )
        assert answer.json()["state"] == "done"
        assert (own.home / "up").read_bytes() == data

        rest = server.call(
            "GET",
            "files",
            params={"area": "home", "path": "big"},
            headers={"Range": f"bytes={len(received)}-", "If-Range": tag},
        )
        assert rest.status_code == 206
        assert hashlib.sha256(bytes(received) + rest.content).hexdigest() == whole
    assert list(own.home.glob(".canfar-*")) == []


def test_a_download_that_breaks_is_listed_and_leaves_no_noise(
    lab_server: LabServer, folder: Path
) -> None:
    path = folder / "long"
    with path.open("wb") as file:
        file.truncate(200 * _MB)
    url = f"{lab_server.url}/canfar/files?area=home&path={folder.name}/long"
    headers = {"Authorization": f"token {lab_server.token}"}
    with httpx.stream("GET", url, headers=headers) as answer:
        tag = answer.headers["ETag"]
        next(answer.iter_raw(_MB))

    def downloads() -> list[dict[str, Any]]:
        found = lab_server.ask("transfers")["transfers"]
        return [each for each in found if each["name"] == "long" and each["kind"] == "download"]

    wait_for(lambda: downloads()[0]["state"] == "failed", "its end")
    assert "can go on where it lists it" in downloads()[0]["error"]["message"]
    # The file grows while the rest of it is sent: whoever gets that must not believe it.
    with httpx.stream(
        "GET", url, headers={**headers, "Range": f"bytes={_MB}-", "If-Range": tag}
    ) as answer:
        assert answer.status_code == 206
        with path.open("ab") as file:
            file.write(b"more")
        with pytest.raises(httpx.TransportError):
            for _ in answer.iter_raw():
                pass
    wait_for(lambda: downloads()[0]["state"] == "failed", "its end")
    assert [each["error"]["code"] for each in downloads()] == ["changed"]
    log = lab_server.log.read_text()
    assert "Traceback" not in log
    assert "Cannot send error response" not in log
