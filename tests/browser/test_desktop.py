"""A desktop: opened by a click, DS9 in it, text in and out, another size, a lost connection."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from canfar_spawner.local import environments, run
from tests.browser import desktop as use
from tests.browser.conftest import Need, sign_in
from tests.support.hub import Hub, wait_for
from tests.support.processes import below, listening_tcp

# Keys and pictures through four programs, each in its own time: of the long tests until it has run
# many times on a quiet machine.
pytestmark = [pytest.mark.browser, pytest.mark.long]

_PROGRAMS = ("Xtigervnc", "openbox", "tint2", "jgmenu", "xterm", "ds9", "xdpyinfo")


def _launched(page: Page, hub: Hub) -> str:
    """Launch a desktop from the portal, and wait until its screen is there."""
    page.goto(f"{hub.public}/hub/spawn")
    page.get_by_role("radio", name="Desktop").check(force=True)
    page.get_by_role("button", name="Launch", exact=True).click()
    page.wait_for_url(re.compile(r"/user/ada/[a-z][a-z0-9]{7}/$"))
    page.wait_for_selector(use.CONNECTED)
    found = re.search(r"/user/ada/([a-z0-9]{8})/", page.url)
    assert found
    return found[1]


def _programs(hub: Hub, session: str) -> tuple[dict[int, str], int, int]:
    """Give what runs in a session without its gateway, the gateway, and who keeps both."""
    keeper = run.read_state(hub.launches()[session]).supervisor_pid
    everything = below(keeper)
    gateways = [
        pid
        for pid in everything
        if b"canfar_spawner.gateway" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    gateway = max(gateways)
    programs = {pid: name for pid, name in everything.items() if pid not in gateways}
    return programs, gateway, keeper


def test_a_desktop_is_opened_used_and_comes_back(
    hub: Hub,
    page: Page,
    screenshots: Path,
    tmp_path: Path,
    need: Need,
) -> None:
    missing = [name for name in _PROGRAMS if not shutil.which(name)]
    need("desktop", not missing, f"see packages.txt: {', '.join(missing)} missing")
    need("desktop", environments.is_ready("desktop"), "make environments")
    pictures = screenshots if hub.host == "127.0.0.1" else tmp_path
    sign_in(page, hub, "ada")
    session = _launched(page, hub)
    home = hub.data / "arc" / "home" / "ada"
    desktop = use.Desktop(page, use.home_reader(home))
    use.SKY.write(home / "star.fits")
    shell = desktop.terminal()
    use.both_ways(desktop)
    print(f"DS9's star is {use.close_to_its_position(desktop)} from its position")
    page.screenshot(path=pictures / "desktop.png")
    running, gateway, keeper = _programs(hub, session)
    words = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in running]
    assert any(b"star.fits" in each for each in words), "DS9 is among them"
    assert not {running[pid]: listening_tcp(pid) for pid in running if listening_tcp(pid)}
    use.end_ds9(desktop)
    use.resized(desktop, 1000, 700)

    def drop() -> None:
        # Whoever starts it again within a second leaves no time to see that it was gone.
        os.kill(keeper, signal.SIGSTOP)
        os.kill(gateway, signal.SIGKILL)

    use.comes_back(desktop, drop, lambda: os.kill(keeper, signal.SIGCONT), shell)
    page.goto(f"{hub.public}/hub/home")
    card = page.locator(f"#session-{session}")
    expect(card).to_contain_text("Running")
    card.get_by_role("button", name="Stop").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop").click()
    expect(card).to_have_count(0)
    wait_for(lambda: not [pid for pid in running if Path(f"/proc/{pid}").exists()], "its end")
