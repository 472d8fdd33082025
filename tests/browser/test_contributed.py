"""Sessions that the community contributes, behind the gateway: marimo, and a terminal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page

from canfar_spawner.local import run
from tests.browser import contributed as use
from tests.browser.conftest import sign_in
from tests.support.hub import Hub, Visitor, wait_for
from tests.support.processes import below, listening_tcp

pytestmark = [
    pytest.mark.browser,
    pytest.mark.environment("marimo"),
    pytest.mark.environment("webterminal"),
]


def address(hub: Hub, session: str) -> str:
    """Give where ada's browser finds a session."""
    own = "" if hub.host == "127.0.0.1" else "ada."
    return f"http://{own}{hub.host}:{hub.port}/user/ada/{session}/"


def written(hub: Hub, name: str) -> str:
    """Wait for a file in ada's home, see that it is hers, and give what is in it."""
    home = hub.data / "arc" / "home" / "ada"
    wait_for((home / name).exists, f"{name} to be written")
    assert (home / name).stat().st_uid == home.stat().st_uid, "it is the user's own"
    wait_for((home / name).read_text, f"{name} to have something in it")
    return (home / name).read_text()


def ports(hub: Hub, session: str) -> set[int]:
    """Give the ports at which the programs of a session can be reached."""
    supervisor = run.read_state(hub.launches()[session]).supervisor_pid
    found = [address for pid in below(supervisor) for address in listening_tcp(pid)]
    return {int(address.rpartition(":")[2], 16) for address in found}


def test_what_the_community_contributes_is_used_like_a_notebook(
    hub: Hub, page: Page, screenshots: Path, tmp_path: Path
) -> None:
    # The pictures of the second run would be the same.
    pictures = screenshots if hub.host == "127.0.0.1" else tmp_path
    ada: Visitor = hub.sign_in("ada")
    for session, container in (("marimoab", "marimo"), ("termabcd", "webterminal")):
        assert ada.launch(session, container=container).status_code in (201, 202)
    sign_in(page, hub, "ada")
    ada.wait_ready("termabcd")
    use.type_in_terminal(page, address(hub, "termabcd"))
    assert written(hub, "typed.txt").endswith("home/ada\n42\n")
    page.screenshot(path=pictures / "webterminal.png")
    ada.wait_ready("marimoab")
    use.compute_in_marimo(page, address(hub, "marimoab"))
    assert written(hub, "marimo.txt") == "the answer is 42\n"
    page.screenshot(path=pictures / "marimo.png")
    for session in ("marimoab", "termabcd"):
        # The gateway shows nobody but root what it has open.
        gateway = {run.read_state(hub.launches()[session]).port} if os.geteuid() == 0 else set()
        assert ports(hub, session) == gateway, "nothing else can be reached"
        ada.stop(session)
