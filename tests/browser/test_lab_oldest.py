"""The panel in the oldest JupyterLab that it is for; images of users are frozen for years."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from canfar_spawner.local import environments
from canfar_spawner.local.recipes import build_environ
from tests.support.hub import ROOT, free_port, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.environment("lab")]

OLDEST = ("jupyterlab==4.4.10", "jupyter-server>=2.16,<3")
TOKEN = "0123456789abcdef"
HERE = {
    "api": 1,
    "person": "ada",
    "owner": "ada",
    "visitor": False,
    "session": "oldest01",
    "home": "/hub/home",
    "usage": {"memory": 3.9 * 2**30, "memoryLimit": 2**32, "cores": 0.5},
}
SESSION = {
    "id": "oldest01",
    "owner": "ada",
    "name": "An old image",
    "title": "Notebook",
    "version": "25.06",
    "kind": "notebook",
    "state": "Running",
    "ends": "2099-01-01T00:00:00Z",
    "mode": "fixed",
    "qos": "Guaranteed",
    "cores_limit": "2",
    "memory_limit_gb": 4,
}


def run(*words: object) -> None:
    done = subprocess.run(
        [str(word) for word in words],
        env=build_environ(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def old_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run an old JupyterLab with the wheel's part, without a hub."""
    base = tmp_path_factory.mktemp("oldest")
    tools, place = environments.location("tools") / "bin", base / "venv"
    run(tools / "uv", "build", "--wheel", "--quiet", "--out-dir", base)
    (wheel,) = base.glob("*.whl")
    run(tools / "uv", "venv", "--quiet", "--python", tools / "python", place)
    install = (tools / "uv", "pip", "install", "--quiet", "--python", place / "bin" / "python")
    run(*install, *OLDEST)
    run(*install, "--no-deps", wheel)
    port, home = free_port(), base / "home"
    home.mkdir()
    (home / "notes.txt").write_text("seeing was fair")
    log = base / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(place / "bin" / "jupyter", "lab", "--no-browser", "--allow-root"),
                *("--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"),
                *(f"--ServerApp.root_dir={home}", f"--IdentityProvider.token={TOKEN}"),
                "--LabApp.news_url=None",
                "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            ],
            env={
                "PATH": f"{place / 'bin'}:/usr/bin:/bin",
                "HOME": str(base),
                "LANG": "C.UTF-8",
                "CANFAR_HOME": str(home),
            },
            cwd=home,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: b"is running at" in log.read_bytes(), "the old JupyterLab to answer")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def answer(page: Page, path: str, body: dict[str, Any]) -> None:
    """Answer for the hub, of which there is none here."""

    def fulfill(route: Route) -> None:
        route.fulfill(json=body)

    page.route(f"**/canfar/{path}?**", fulfill)


def test_without_a_hub_it_says_so(old_lab: str, page: Page) -> None:
    page.goto(f"{old_lab}/lab?reset&token={TOKEN}")
    page.get_by_role("tab", name="CANFAR").click()
    expect(page.locator(".canfar-head")).to_contain_text("No hub started this server")


def test_every_section_works(old_lab: str, page: Page, screenshots: Path) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    answer(page, "here", HERE)
    answer(page, "session", SESSION)
    page.goto(f"{old_lab}/lab?reset&token={TOKEN}")
    page.get_by_role("tab", name="CANFAR").click()
    head = page.get_by_role("region", name="This session")
    expect(head.get_by_text("Fixed · 2 cores, 4 GB guaranteed")).to_be_visible()
    expect(page.locator(".canfar-storage").get_by_title("notes.txt", exact=True)).to_be_visible()
    warning = "This session uses 3.9 of its 4 GB of memory"
    expect(page.get_by_text(warning).first).to_be_visible()
    page.screenshot(path=screenshots / "panel-oldest.png")
    assert errors == []
