"""Folders in JupyterLab's panel, and in JupyterLab's own file browser, in Chromium.

``make -s bench-storage-panel`` or ``python bench/storage_panel.py [--rounds N] [--most FILES]``: a real
hub, a session with JupyterLab, and folders of more and more files. Each is entered by a double click;
*cold* after it has changed, *warm* again, a second later. JupyterLab's own browser is given a minute for each folder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import Error as PageError

from canfar_spawner.local import environments
from tests.support.hub import running_hub
from tests.support.lab import Lab, launch_lab
from tests.support.labpanel import Area, Panel

COUNTS = (10, 10_000, 100_000)
_PATIENCE = 60_000
_TICK_MS = 1500
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")

_UNTIL = """
const until = condition => new Promise((resolve, reject) => {
  const begun = performance.now();
  const look = () => {
    if (condition()) {
      // What is in the document is on the screen after the next frame.
      requestAnimationFrame(() => resolve(performance.now()));
    } else if (performance.now() - begun > PATIENCE) {
      reject(new Error('in vain'));
    } else {
      requestAnimationFrame(look);
    }
  };
  look();
});
""".replace("PATIENCE", str(_PATIENCE))

ENTER = f"""async ([row, first]) => {{
  {_UNTIL}
  const begun = performance.now();
  const named = name => document.querySelector(`.canfar-storage-row [title="${{name}}"]`);
  named(row).dispatchEvent(new MouseEvent('dblclick', {{ bubbles: true }}));
  return await until(() => named(first)) - begun;
}}"""

JUMP = f"""async ([row, name]) => {{
  {_UNTIL}
  const grid = document.querySelector('.canfar-storage-rows');
  const begun = performance.now();
  grid.scrollTop = row * 28;
  const named = () => document.querySelector(`.canfar-storage-row [title="${{name}}"]`);
  return await until(named) - begun;
}}"""

THEIRS = f"""async ([folder, first]) => {{
  {_UNTIL}
  const items = () => [...document.querySelectorAll('.jp-DirListing-item')];
  const named = name => items().find(item => item.textContent.trim().startsWith(name));
  const begun = performance.now();
  named(folder).dispatchEvent(new MouseEvent('dblclick', {{ bubbles: true }}));
  return await until(() => named(first)) - begun;
}}"""


def called(number: int) -> str:
    """Give the name of a file."""
    return f"cal_{number:06d}_raw.fits"


def _median(rounds: int, measure: Callable[[], float]) -> str:
    return f"{statistics.median(measure() for _ in range(rounds)):.0f}"


def ours(panel: Panel, folder: Path, count: int, rounds: int) -> list[str]:
    """Measure the panel at one folder."""
    above = folder.parent.name

    def enter() -> float:
        took = float(panel.page.evaluate(ENTER, [folder.name, called(0)]))
        panel.storage.get_by_role("navigation").get_by_role("button", name=above).click()
        panel.row(folder.name).wait_for()
        return took

    def cold() -> float:
        os.utime(folder)
        return enter()

    cold_ms = _median(rounds, cold)
    # What changed within the last second is read anew each time: another change in the same tick of
    # the file system's clock would not show.
    panel.page.wait_for_timeout(_TICK_MS)
    enter()
    warm_ms = _median(rounds, enter)
    panel.page.evaluate(ENTER, [folder.name, called(0)])
    drawn, row = panel.rows_drawn(), count * 6 // 10
    jumped = float(panel.page.evaluate(JUMP, [row, called(row)]))
    drawn = max(drawn, panel.rows_drawn())
    panel.storage.get_by_role("navigation").get_by_role("button", name=above).click()
    panel.row(folder.name).wait_for()
    return [cold_ms, warm_ms, f"{jumped:.0f}", str(drawn)]


def theirs(page: Page, lab: Lab, folder: Path) -> str:
    """Measure JupyterLab's own file browser at one folder."""
    panel = Panel(page, lab)
    page.goto(f"{panel.url}lab/workspaces/theirs/tree/home/{folder.parent.name}?reset")
    page.locator(".jp-DirListing-item", has_text=folder.name).first.wait_for()
    try:
        return f"{page.evaluate(THEIRS, [folder.name, called(0)]):.0f}"
    except PageError:
        return f"> {_PATIENCE}"


def measure(browser: Browser, lab: Lab, rounds: int, most: int) -> None:
    """Make the folders, enter each, and print a table."""
    hub = lab.visitor.hub
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(f"{hub.public}/")
    page.get_by_label("Name", exact=True).fill("ada")
    page.get_by_label("Password", exact=True).fill(hub.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/hub/home")
    home = Area(hub.data / "arc" / "home" / "ada")
    folders = {
        count: home.many(f"bench/files{count}", count, called) for count in COUNTS if count <= most
    }
    panel = Panel(page, lab)
    panel.open()
    areas = lab.call("GET", "canfar/storage/areas").json()["areas"]
    panel.go(next(area["path"] for area in areas if area["id"] == "home") + "/bench")
    print(f"{os.cpu_count()} cores; milliseconds, median of {rounds}")
    print("| files | cold | warm | jump to 60 % | rows drawn | JupyterLab's own |")
    print("|---|---|---|---|---|---|")
    found = {count: ours(panel, folder, count, rounds) for count, folder in folders.items()}
    for count, folder in folders.items():
        # It cannot be stopped once it has begun; nothing else is measured in that tab.
        tab = context.new_page()
        cells = [*found[count], theirs(tab, lab, folder)]
        print(f"| {count:,} | {' | '.join(cells)} |", flush=True)
        tab.close()
    context.close()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--most", type=int, default=max(COUNTS), help="files in the largest folder")
    arguments = parser.parse_args()
    os.environ["PLAYWRIGHT_NODEJS_PATH"] = environments.node()
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        with running_hub(Path(place) / "data") as hub, sync_playwright() as playwright:
            lab = launch_lab(hub.sign_in("ada"), "storage1", container="notebook")
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=list(_FLAGS)
            )
            measure(browser, lab, arguments.rounds, arguments.most)
            browser.close()


if __name__ == "__main__":
    main()
