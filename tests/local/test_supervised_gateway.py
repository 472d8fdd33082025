"""What the supervisor does with a gateway before the program."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from canfar_spawner.local import run
from tests.support.hub import wait_for
from tests.support.launch import Launch, alive, status_of

New = Callable[..., Launch]
FOREVER = "echo ready; exec sleep 1000"


def gateway(launch: Launch, *argv: str, **changes: Any) -> dict[str, Any]:
    """Give the part of an order that is the gateway's."""
    user = launch.program_user
    return {
        "argv": list(argv),
        "env": {"PATH": "/usr/bin:/bin", "TOKEN": "the-gateways-own"},
        "log": str(launch.directory / "gateway.log"),
        "log_owner": [os.geteuid(), os.getegid()] if user is not None else None,
        "user": None if user is None else {"uid": user, "gid": user, "groups": []},
        "umask": 0o077,
        **changes,
    }


def said(launch: Launch) -> list[str]:
    """Give the lines of the gateway's log."""
    path = launch.directory / "gateway.log"
    return path.read_text().splitlines() if path.exists() else []


def pid_of(launch: Launch) -> int:
    found = launch.state.gateway
    assert found is not None
    return found.pid


def test_it_comes_back_by_itself_and_ends_with_the_program(launch: Launch) -> None:
    argv = ("/bin/sh", "-c", "echo began=$$ $TOKEN; umask; exec sleep 1000")
    go = launch.base / "go"
    code = f"echo $TOKEN; echo ready; until [ -e {go} ]; do sleep 0.05; done; exit 7"
    launch.order("/bin/sh", "-c", code, gateway=gateway(launch, *argv))
    supervisor = launch.running()
    program = launch.state.program
    assert program
    for number in (1, 2):
        wait_for(lambda number=number: len(said(launch)) == 2 * number, "the gateway to begin")
        first = pid_of(launch)
        assert said(launch)[-2] == f"began={first} the-gateways-own"
        if launch.program_user is not None:
            assert status_of(first)["Uid"].split() == [str(launch.program_user)] * 4
            assert status_of(first)["NoNewPrivs"] == "1"
        mark = f"{run.MARK}={launch.directory.name}".encode()
        assert mark in Path(f"/proc/{first}/environ").read_bytes().split(b"\0")
        os.kill(first, signal.SIGKILL)
        wait_for(lambda first=first: pid_of(launch) != first, "another gateway")
    last = pid_of(launch)
    assert alive(program.pid), "the program has noticed nothing"
    assert "the-gateways-own" not in launch.log
    log = (launch.directory / "gateway.log").stat()
    assert (log.st_mode & 0o777, log.st_uid) == (
        0o600,
        os.geteuid() if launch.supervisor_user is None else launch.supervisor_user,
    )
    go.touch()
    assert supervisor.wait(timeout=60) == 0
    assert (launch.state.reason, launch.state.exit_code) == ("exited", 7)
    assert not alive(last)


def test_stopping_ends_both(new_launch: New) -> None:
    launch = new_launch()
    # The shell itself would say on its second output that its child was ended.
    tidy = "exec 2>&-; trap 'echo tidied; exit' TERM; echo began; while :; do sleep 9 & wait; done"
    launch.order("/bin/sh", "-c", FOREVER, gateway=gateway(launch, "/bin/sh", "-c", tidy))
    supervisor = launch.running()
    wait_for(lambda: said(launch) == ["began"], "the gateway to begin")
    assert run.stop(launch.directory)
    assert supervisor.wait(timeout=60) == 0
    assert launch.state.reason == "stopped"
    assert said(launch) == ["began", "tidied"], "and it is not started again"


def test_a_killed_supervisor_takes_the_gateway_along(new_launch: New) -> None:
    launch = new_launch()
    child = launch.script("child", "trap '' TERM HUP; echo child=$$; while :; do sleep 1000; done")
    argv = ("/bin/sh", "-c", f"setsid -f {child}; exec sleep 1000")
    launch.order("/bin/sh", "-c", FOREVER, gateway=gateway(launch, *argv))
    supervisor = launch.running()
    [told] = wait_for(lambda: said(launch), "the gateway's child")
    stray, first = int(told.partition("=")[2]), pid_of(launch)
    supervisor.kill()
    supervisor.wait()
    wait_for(lambda: not alive(first), "the kernel to take the gateway along")
    assert alive(stray)
    assert launch.run() == run.FINISHED_FOR
    assert not alive(stray)
    assert launch.state.reason == "supervisor_lost"


def test_one_that_ends_at_once_is_not_started_without_pause(new_launch: New) -> None:
    launch = new_launch()
    launch.order("/bin/sh", "-c", FOREVER, gateway=gateway(launch, "/bin/date", "+%s.%N"))
    supervisor = launch.running()
    wait_for(lambda: len(said(launch)) > 4, "the gateway to begin again and again")
    for number, line in enumerate(said(launch)[:5]):
        due = launch.state.at + sum(0.1 * 2**each for each in range(number))
        assert float(line) > due - 0.05
    assert run.stop(launch.directory)
    assert supervisor.wait(timeout=60) == 0


@pytest.mark.parametrize("missing", ["gateway", "program"])
def test_without_either_nothing_starts(new_launch: New, missing: str) -> None:
    launch = new_launch()
    argv = {"gateway": ("/bin/sleep", "1000"), "program": ("/bin/sleep", "1000")}
    argv[missing] = ("/no/such/program",)
    launch.order(*argv["program"], gateway=gateway(launch, *argv["gateway"]))
    began = time.time()
    assert launch.run() == run.START_FAILED
    assert launch.state.detail == "/no/such/program: No such file or directory"
    found = launch.state.gateway
    assert (found is None) == (missing == "gateway")
    assert found is None or not alive(found.pid)
    assert launch.state.at >= began - 1
    assert not (launch.directory / "spec.json").exists()


@pytest.mark.parametrize(
    "wrong",
    [{"argv": []}, {"argv": "/bin/true"}, {"env": {"TOKEN": ["x"]}}, {"more": 1}, {"user": {}}],
)
def test_an_order_of_a_gateway_that_cannot_be_read_starts_nothing(
    new_launch: New, wrong: dict[str, Any]
) -> None:
    launch = new_launch()
    launch.order("/bin/echo", "ran", gateway=gateway(launch, "/bin/true", **wrong))
    assert launch.run() == run.BROKEN
    assert launch.state.detail == "spec.json is not what the hub writes"
    assert not (launch.directory / "session.log").exists()
