"""The helper processes: one that hangs, one that is ended, two folders at once, tasks that are left."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import decompress

import pytest
from canfar_lab.storage import helpers
from canfar_lab.storage.errors import Refused
from canfar_lab.storage.helpers import Answer, Readers, Tasks

from tests.support.lab_server import Storage

WITHIN = 60.0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a home with some files, of which helpers are told."""
    storage = Storage(tmp_path)
    for name, value in storage.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "not for helpers")
    for number in range(300):
        (storage.home / f"file{number}").touch()
    return storage.home


def told(answer: Answer) -> dict[str, Any]:
    body = decompress(answer.body, wbits=31) if answer.gzip else answer.body
    found: dict[str, Any] = json.loads(body)
    return found


def processes() -> list[int]:
    """Give the helpers of this process."""
    ours = f"PPid:\t{os.getpid()}\n"
    return [
        int(entry.name)
        for entry in Path("/proc").glob("[0-9]*")
        if b"canfar_lab.storage" in read(entry / "cmdline")
        and ours.encode() in read(entry / "status")
    ]


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(WITHIN):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.02)


async def test_a_helper_that_hangs_is_given_up(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readers = Readers()
    asked = {"area": "home", "path": ""}
    assert told(await readers.ask("list", asked))["total"] == 300
    (pid,) = processes()
    assert b"not for helpers" not in read(Path(f"/proc/{pid}/environ"))
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(helpers, "_PATIENCE", 0.5)
    with pytest.raises(Refused) as refused:
        await readers.ask("list", asked)
    assert (refused.value.code, refused.value.status) == ("away", 504)
    monkeypatch.setattr(helpers, "_PATIENCE", WITHIN)
    (home / "more").touch()
    assert told(await readers.ask("list", asked))["total"] == 301
    assert pid not in processes()
    readers.end()


@pytest.mark.usefixtures("home")
async def test_a_helper_that_is_ended_is_asked_again() -> None:
    readers = Readers()
    asked = {"area": "home", "path": "", "limit": "3"}
    first = told(await readers.ask("list", asked))
    for pid in processes():
        os.kill(pid, signal.SIGKILL)
    again = told(await readers.ask("list", {**asked, "generation": first["generation"]}))
    assert again["names"] == first["names"]
    assert again["generation"] != first["generation"]
    readers.end()


async def test_answers_go_to_who_asked(home: Path) -> None:
    for name in ("a", "b"):
        (home / name).mkdir()
        (home / name / name).touch()
    readers = Readers()

    async def ask(name: str) -> list[str]:
        found: list[str] = told(await readers.ask("list", {"area": "home", "path": name}))["names"]
        return found

    # Those that do not wait for their answer must not leave it to the next ones.
    for name in "abab":
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await ask(name)
    found = await asyncio.gather(*(ask(name) for name in "abba" * 10))
    assert found == [[name] for name in "abba" * 10]
    assert 1 <= len(processes()) <= 2
    readers.end()
    await until(lambda: not processes())


async def test_a_search_that_nobody_asks_about_ends_and_a_deletion_goes_on(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helpers, "_ABANDONED", 0.0)
    tasks = Tasks()
    search = tasks.begin({"what": "search", "area": "home", "path": "", "text": "file"})
    deletion = tasks.begin({"what": "delete", "area": "home", "paths": ["file1", "file2"]})
    await until(lambda: search.state != "running" and deletion.state != "running")
    assert search.state in {"cancelled", "done"}
    assert deletion.state == "done"
    assert not (home / "file1").exists()
    assert (home / "file3").exists()


@pytest.mark.usefixtures("home")
async def test_a_task_whose_process_is_ended_says_so() -> None:
    tasks = Tasks()
    task = tasks.begin({"what": "search", "area": "home", "path": "", "text": "file"})
    await until(lambda: task.process is not None)
    assert task.process is not None
    task.process.kill()
    await until(lambda: task.state != "running")
    if task.state == "failed":
        assert task.view(0)["error"]["message"].startswith("It was ended before")
    else:
        assert len(task.hits) == 300


@pytest.mark.usefixtures("home")
async def test_there_is_a_limit_to_what_is_done_at_once() -> None:
    tasks = Tasks()
    asked = {"what": "search", "area": "home", "path": "", "text": "x"}
    begun = [tasks.begin(asked) for _ in range(8)]
    with pytest.raises(Refused) as refused:
        tasks.begin(asked)
    assert refused.value.status == 429
    await until(processes)
    tasks.end()
    assert {task.state for task in begun} <= {"cancelled", "done"}
    await until(lambda: not tasks._running)
    assert not processes()
