"""A hundred thousand files in one folder, and what else the server does meanwhile."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.lab_load import Stall, connected, fill, memory
from tests.support.lab_server import LabServer

FILES = 100_000
SLACK = 10
"""Machines that run tests are slower than those that are measured."""


@pytest.fixture(scope="module")
def crowded(lab_server: LabServer) -> Iterator[Path]:
    folder = lab_server.storage.home / "crowded"
    fill(folder, FILES)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.long
def test_a_page_of_it_comes_at_once_and_nobody_waits(lab_server: LabServer, crowded: Path) -> None:
    asked = {"area": "home", "path": crowded.name}
    address = f"{lab_server.url}/canfar/storage/list"
    before = memory(lab_server)
    with connected(lab_server) as client, Stall(lab_server) as stall:

        def page(**more: object) -> tuple[float, httpx.Response]:
            began = time.perf_counter()
            answer = client.get(address, params={**asked, **more})
            took = time.perf_counter() - began
            assert answer.status_code == 200, answer.text
            return took, answer

        # As the panel does, which has the helper begin.
        client.get(f"{lab_server.url}/canfar/storage/areas").raise_for_status()
        client.get(address, params={"area": "scratch"}).raise_for_status()
        cold, first = page()
        warm, jump = page(offset=60_000, generation=first.json()["generation"])
    assert first.json()["total"] == FILES
    assert jump.json()["names"][0] == "cal_060000_raw.fits"
    assert int(first.headers["Content-Length"]) <= 60_000
    assert cold <= 0.5 * SLACK
    assert warm <= 0.05 * SLACK
    assert stall.longest <= 0.1 * SLACK
    assert memory(lab_server) - before <= 40


def test_all_of_it_is_read_by_pages_in_one_state(lab_server: LabServer, crowded: Path) -> None:
    names: list[str] = []
    generation = ""
    while len(names) < FILES:
        page = lab_server.ask(
            "storage/list",
            area="home",
            path=crowded.name,
            offset=len(names),
            limit=5000,
            generation=generation,
        )
        assert generation in {"", page["generation"]}
        generation = page["generation"]
        names += page["names"]
    assert names == sorted(os.listdir(crowded))  # noqa: PTH208 - names, not paths
    found = lab_server.ask("storage/list", area="home", path=crowded.name, filter="99999")
    assert found["names"] == ["cal_099999_raw.fits"]


def test_a_search_in_it_is_cancelled_and_a_folder_beside_it_is_listed_meanwhile(
    lab_server: LabServer, crowded: Path
) -> None:
    beside = lab_server.storage.scratch / "beside"
    beside.mkdir()
    answers: list[int] = []

    def ask() -> None:
        page = lab_server.ask("storage/list", area="scratch", path="beside")
        answers.append(page["total"])

    task = lab_server.tell(
        "storage/tasks", what="search", area="home", path=crowded.name, text="no such name"
    )
    thread = threading.Thread(target=ask)
    thread.start()
    lab_server.call("DELETE", f"storage/tasks/{task['id']}")
    thread.join()
    assert answers == [0]
    assert lab_server.ask(f"storage/tasks/{task['id']}")["state"] in {"cancelled", "done"}
