"""What a session tells of itself, found in real processes and files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from canfar_lab import heartbeat

from tests.support.hub import wait_for

BLOCKED = """
import sys

class Fence:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"jupyterhub", "kubernetes_asyncio", "canfar_spawner"}:
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Fence())
import canfar_lab
import canfar_lab.heartbeat
import canfar_lab.service
import canfar_lab.fits.units
import canfar_lab.preview.worker
import canfar_lab.transfers.board
import canfar_lab.visitors
print(canfar_lab._jupyter_server_extension_points())
"""


@pytest.fixture
def shell() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        ["sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        yield process
        os.killpg(process.pid, 9)


def tell(shell: subprocess.Popen[str], line: str) -> None:
    assert shell.stdin is not None
    shell.stdin.write(f"{line}\n")
    shell.stdin.flush()


def test_it_imports_without_the_hub() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "canfar_lab" in done.stdout


def test_a_shell_is_busy_while_something_it_started_runs(shell: subprocess.Popen[str]) -> None:
    pids = frozenset({shell.pid, os.getpid() + 10**7})
    tell(shell, "echo ready")
    assert shell.stdout is not None
    assert shell.stdout.readline() == "ready\n"
    assert heartbeat.busy_shells(pids) == 0
    tell(shell, "sleep 300 & child=$!; echo started")
    assert shell.stdout.readline() == "started\n"
    assert heartbeat.busy_shells(pids) == 1
    tell(shell, "kill $child")
    wait_for(lambda: heartbeat.busy_shells(pids) == 0, "the child to end")
    assert heartbeat.busy_shells(frozenset()) == 0


def test_the_name_of_a_program_does_not_deceive(shell: subprocess.Popen[str]) -> None:
    tell(shell, "cp /bin/sleep '/tmp/) S 1 (' && exec '/tmp/) S 1 (' 300")
    stat = Path(f"/proc/{shell.pid}/stat")
    wait_for(lambda: ") S 1 (" in stat.read_text(), "the program to run")
    Path("/tmp/) S 1 (").unlink()
    assert heartbeat.busy_shells(frozenset({os.getpid()})) == 1


def test_scratch_is_counted(tmp_path: Path) -> None:
    assert heartbeat.scratch("") is None
    assert heartbeat.scratch(str(tmp_path / "absent")) is None
    assert heartbeat.scratch(str(tmp_path)) == {"files": 0, "bytes": 0, "complete": True}
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    (tmp_path / "deep" / "deeper" / "cube.fits").write_bytes(bytes(2880))
    (tmp_path / "a").write_bytes(bytes(20))
    (tmp_path / "out").symlink_to("/usr")
    found = heartbeat.scratch(str(tmp_path))
    assert found is not None
    link = (tmp_path / "out").lstat().st_size
    assert found == {"files": 3, "bytes": 2900 + link, "complete": True}


def test_a_count_without_time_says_that_it_is_not_all(tmp_path: Path) -> None:
    for number in range(600):
        (tmp_path / str(number)).touch()
    found = heartbeat.scratch(str(tmp_path), seconds=0)
    assert found is not None
    assert found["complete"] is False
    assert 0 < int(str(found["files"])) < 600


def test_times_are_told_in_utc() -> None:
    west = timezone(timedelta(hours=-8))
    assert heartbeat.activity(datetime(2026, 11, 25, 4, tzinfo=west)) == "2026-11-25T12:00:00Z"
    naive = datetime(2026, 11, 25, 12)  # noqa: DTZ001 - what a server may hand over
    assert heartbeat.activity(naive) == "2026-11-25T12:00:00Z"
    assert re.fullmatch(rf"{datetime.now(UTC):%Y}-\S+Z", heartbeat.activity(None))
