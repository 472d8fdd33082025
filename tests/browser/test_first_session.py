"""An astronomer's first hour: sign in, launch, work, stop; and nobody else gets in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Need, open_context, sign_in
from tests.support.hub import Hub, wait_for

pytestmark = pytest.mark.browser

NOTEBOOK = "measure_sources.ipynb"
one_origin = pytest.mark.parametrize("hub", ["127.0.0.1"], indirect=True, ids=["one-origin"])
"""For what does not depend on where a session is."""


def launch(page: Page, hub: Hub, *, fixed: tuple[str, str] | None = None) -> str:
    """Launch AstroML from the form and wait until JupyterLab is open; gives the session's id."""
    page.goto(f"{hub.public}/hub/spawn")
    page.get_by_role("radio", name="AstroML").check(force=True)
    if fixed:
        cores, memory = fixed
        page.get_by_role("radio", name="Fixed").check(force=True)
        page.locator(f'input[name="cores"][value="{cores}"]').check(force=True)
        page.locator(f'input[name="memory"][value="{memory}"]').check(force=True)
    page.get_by_role("button", name="Launch", exact=True).click()
    page.wait_for_url(re.compile(r"/user/ada/[a-z][a-z0-9]{7}/lab"))
    expect(page.locator("#jp-main-dock-panel")).to_be_visible()
    found = re.search(r"/user/ada/([a-z0-9]{8})/", page.url)
    assert found
    return found[1]


def run_notebook(page: Page, session_url: str) -> str:
    """Open the sample notebook, run all of it, and give what its last cell printed."""
    page.goto(f"{session_url}lab/workspaces/test/tree/projects/demo/{NOTEBOOK}?reset")
    expect(page.locator(".jp-Notebook")).to_be_visible()
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    done = page.locator(
        ".jp-OutputArea-output", has_text=re.compile(r"measured \d+ of \d+ sources")
    )
    expect(done.last).to_be_attached(timeout=180_000)
    return done.last.inner_text()


def stop_from_home(page: Page, hub: Hub, session: str) -> None:
    """Stop a session by the button of its card and wait until the card is gone."""
    page.goto(f"{hub.public}/hub/home")
    card = page.locator(f"#session-{session}")
    card.get_by_role("button", name="Stop").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop").click()
    expect(card).to_have_count(0)


def scratch_of(hub: Hub, session: str) -> list[Path]:
    """Give the scratch directories of a session on the host."""
    return list((hub.data / "scratch").glob(f"{session}-*"))


def test_launch_work_and_stop(
    hub: Hub, page: Page, chromium: Browser, screenshots: Path, tmp_path: Path
) -> None:
    # The pictures of the second run would be the same.
    pictures = screenshots if hub.host == "127.0.0.1" else tmp_path
    sign_in(page, hub, "ada")
    session = launch(page, hub)
    base = f"{page.url.partition(session)[0]}{session}/"
    if hub.host != "127.0.0.1":
        assert base.startswith(f"http://ada.{hub.host}:"), "each user has an origin of her own"
    expect(page.locator(".jp-LauncherCard").first).to_be_visible()
    page.screenshot(path=pictures / "lab-one-origin.png")
    assert scratch_of(hub, session), "the session has a scratch directory"

    printed = run_notebook(page, base)
    counted = re.search(r"measured (\d+) of (\d+) sources", printed)
    assert counted
    assert int(counted[1]) >= 0.9 * int(counted[2]) > 0
    results = list((hub.data / "arc" / "home" / "ada").rglob("results.csv"))
    assert results, "the notebook has written its results to the home"
    assert results[0].stat().st_size > 100
    page.screenshot(path=pictures / "notebook-one-origin.png")
    scratch = scratch_of(hub, session)[0]
    assert any(scratch.iterdir()), "and an intermediate file to scratch"

    other = open_context(chromium)
    stranger = other.new_page()
    sign_in(stranger, hub, "ben")
    answer = stranger.goto(base)
    assert answer is not None
    assert answer.status in (403, 404), "ben is not let into ada's session"
    other.close()

    page.goto(f"{hub.public}/hub/home")
    expect(page.locator(f"#session-{session}")).to_contain_text("Running")
    page.screenshot(path=pictures / "home-running.png")
    stop_from_home(page, hub, session)
    wait_for(lambda: not scratch_of(hub, session), "scratch to be wiped")
    assert results[0].exists(), "home is kept"
    assert (hub.data / "arc" / "projects" / "demo" / NOTEBOOK).exists(), "projects are kept"


@one_origin
def test_fixed_session(hub: Hub, page: Page) -> None:
    sign_in(page, hub, "ada")
    session = launch(page, hub, fixed=("2", "4"))
    told = page.evaluate(
        """async (base) => {
            const xsrf = document.cookie.match(/_xsrf=([^;]*)/)[1];
            const made = await fetch(base + 'api/terminals', {method: 'POST', headers: {'X-XSRFToken': xsrf}});
            return made.status;
        }""",
        f"/user/ada/{session}/",
    )
    assert told == 200
    page.goto(f"{hub.public}/hub/home")
    card = page.locator(f"#session-{session}")
    expect(card).to_contain_text("Fixed · 2 cores, 4 GB")
    stop_from_home(page, hub, session)
    wait_for(lambda: session not in hub.launches(), "the session and its terminal to end")


@one_origin
def test_a_second_user_reaches_neither_session_nor_home(hub: Hub, page: Page, need: Need) -> None:
    log = hub.log.read_text()
    kept_apart = re.search(r"Sessions are kept apart by (\w+)", log)
    assert kept_apart
    isolation = kept_apart[1]
    need("isolation", isolation != "none", "bubblewrap that runs, or root")
    secret = hub.data / "arc" / "home" / "ada" / "secret.txt"
    ada, ben = hub.sign_in("ada"), hub.sign_in("ben")
    assert ada.launch("homeada1", container="astroml").status_code in (201, 202)
    ada.wait_ready("homeada1")
    secret.write_text("for ada alone")
    assert ben.launch("homeben1", container="astroml").status_code in (201, 202)
    ben.wait_ready("homeben1")
    sign_in(page, hub, "ben")
    page.goto(f"{hub.public}/user/ben/homeben1/lab?reset")
    expect(page.locator("#jp-main-dock-panel")).to_be_visible()
    base = f"{page.url.partition('homeben1')[0]}homeben1/"
    seen = in_terminal(
        page,
        base,
        f"cat /arc/home/ada/secret.txt {secret}; ls /arc/home; ls /arc/projects; id -un",
    )
    assert "for ada alone" not in seen, f"{isolation} keeps ben out"
    if isolation == "bubblewrap":
        assert re.search(r"^ben\s*$", seen, re.MULTILINE), "only his own home is there"
        assert "survey" in seen
        assert "demo" not in seen, "a project of others is not there"
    for visitor, session in ((ada, "homeada1"), (ben, "homeben1")):
        visitor.stop(session)
    print(f"isolation: {isolation}")


def in_terminal(page: Page, base: str, command: str) -> str:
    """Run a command in a terminal of the session, over its WebSocket, and give what it wrote."""
    return str(
        page.evaluate(
            """async ([base, command]) => {
                const path = new URL(base).pathname;
                const xsrf = decodeURIComponent(document.cookie.match(/_xsrf=([^;]*)/)[1]);
                const made = await fetch(path + 'api/terminals', {method: 'POST', headers: {'X-XSRFToken': xsrf}});
                const {name} = await made.json();
                const socket = new WebSocket(location.origin.replace('http', 'ws') + path + 'terminals/websocket/' + name);
                let seen = '';
                return await new Promise((resolve, reject) => {
                    socket.onerror = () => reject(new Error('socket'));
                    socket.onmessage = (event) => {
                        const [kind, text] = JSON.parse(event.data);
                        if (kind === 'setup') {
                            socket.send(JSON.stringify(['stdin', command + "; echo the''end\\r"]));
                        }
                        if (kind === 'stdout') seen += text;
                        if (seen.includes('theend')) { socket.close(); resolve(seen); }
                    };
                });
            }""",
            [base, command],
        )
    )
