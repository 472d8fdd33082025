"""Whom a session lets stay: a real session of JupyterLab, its owner and a visitor with sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.support.guest import Guest, execute, type_in
from tests.support.hub import Hub, Visitor, wait_for
from tests.support.lab import Lab, launch_lab

pytestmark = pytest.mark.environment("notebook")


@pytest.fixture(scope="module")
def lab(ada: Visitor) -> Iterator[Lab]:
    yield launch_lab(ada, "visited1", container="notebook")
    ada.stop("visited1")


@pytest.fixture
def invited(admin: Visitor, ben: Visitor, lab: Lab) -> Iterator[Guest]:
    """Let ben in, as the session manager does."""
    shares = f"/shares/ada/{lab.session}"
    assert admin.api("POST", shares, json={"user": "ben"}).status_code == 200
    yield Guest(ben, "ada", lab.session)
    assert admin.api("DELETE", shares).status_code == 204


def revoke(admin: Visitor, lab: Lab) -> float:
    answer = admin.api("PATCH", f"/shares/ada/{lab.session}", json={"user": "ben"})
    assert answer.status_code == 200, answer.text
    return time.monotonic()


async def test_a_revoked_visitor_is_out_and_her_sockets_are_closed(
    ada: Visitor, admin: Visitor, invited: Guest, lab: Lab
) -> None:
    owner = Guest(ada, "ada", lab.session)
    assert invited.status() == 200
    _, own_terminal = await owner.terminal()
    _, own_kernel = await owner.kernel()
    terminal_path, terminal = await invited.terminal()
    kernel_path, kernel = await invited.kernel()
    events = await invited.open("api/events/subscribe")
    revoked = await asyncio.to_thread(revoke, admin, lab)
    for name, socket in (("terminal", terminal), ("kernel", kernel), ("events", events)):
        took = await socket.closed() - revoked
        print(f"{name} closed {took:.2f} s after the access was taken away")
        assert socket.connection.close_code == 1008, name
    assert invited.status() == 403
    assert await invited.refused(terminal_path) == 403
    assert await invited.refused(kernel_path) == 403
    await type_in(own_terminal)
    await execute(own_kernel)


async def test_a_terminal_of_the_owner_that_a_visitor_watched_goes_on(
    ada: Visitor, admin: Visitor, invited: Guest, lab: Lab
) -> None:
    path, own = await Guest(ada, "ada", lab.session).terminal()
    watching = await invited.open(path)
    await type_in(watching)
    await asyncio.to_thread(revoke, admin, lab)
    await watching.closed()
    await type_in(own)
    heard = len(watching.heard)
    await type_in(own)
    assert len(watching.heard) == heard


def test_a_revoked_visitor_without_a_socket_is_out_too(
    admin: Visitor, invited: Guest, lab: Lab
) -> None:
    assert invited.status() == 200
    revoke(admin, lab)
    # Jupyter Server keeps what the hub said for five minutes.
    wait_for(lambda: invited.status() == 403, "the visitor to be refused", seconds=20)


async def test_a_hub_that_is_away_ends_no_visit(hub: Hub, invited: Guest, lab: Lab) -> None:
    _, terminal = await invited.terminal()
    os.kill(hub.pid(), signal.SIGSTOP)
    try:
        log = lab.launch / "session.log"
        told = "The hub does not say whether visitors may still be here"
        await asyncio.to_thread(wait_for, lambda: told in log.read_text(), "the log to tell")
        await type_in(terminal)
    finally:
        os.kill(hub.pid(), signal.SIGCONT)
    again = "The hub answers again"
    await asyncio.to_thread(wait_for, lambda: again in log.read_text(), "the log to tell")
    await type_in(terminal)


def test_the_log_names_visitors_and_holds_no_token(
    ada: Visitor, ben: Visitor, invited: Guest, lab: Lab
) -> None:
    assert invited.status() == 200
    log = (lab.launch / "session.log").read_text()
    assert "ben visits this session" in log
    assert "ada visits" not in log
    for token in (ada.token, ben.token, *ada.hub.tokens()):
        assert token not in log


def test_the_session_tells_what_its_scratch_holds(ada: Visitor, lab: Lab) -> None:
    lab.run(
        "import os, pathlib\n"
        "for name in ('a', 'b', 'c'):\n"
        "    path = pathlib.Path(os.environ['CANFAR_SCRATCH']) / name\n"
        "    path.write_bytes(bytes(1024))\n"
    )

    def told() -> bool:
        page = ada.client.get(f"/services/sessions/stop/{lab.session}")
        assert page.status_code == 200, page.text
        return "3 files (3.0 kB) in /scratch will be wiped" in page.text

    wait_for(told, "the page that stops it to name the files")
