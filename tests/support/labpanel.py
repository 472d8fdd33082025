"""The panel of JupyterLab as tests use it, in Chromium, and a home with files for it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from tests.support.hub import wait_for
from tests.support.lab import Lab

THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
_THEME = "@jupyterlab/apputils-extension:themes"


@dataclass
class Area:
    """A directory of the session's owner, as the hub's machine has it."""

    root: Path

    def __post_init__(self) -> None:
        found = self.root.stat()
        self._owner = (found.st_uid, found.st_gid)

    def own(self, path: Path) -> Path:
        """Make something the owner's."""
        os.chown(path, *self._owner)
        return path

    def folder(self, name: str) -> Path:
        """Make a folder, and those above it."""
        path = self.root
        for part in name.split("/"):
            path /= part
            if not path.is_dir():
                path.mkdir()
                self.own(path)
        return path

    def write(self, name: str, content: bytes = b"") -> Path:
        """Make a file."""
        folder, _, last = name.rpartition("/")
        path = (self.folder(folder) if folder else self.root) / last
        path.write_bytes(content)
        return self.own(path)

    def many(self, name: str, count: int, called: Callable[[int], str]) -> Path:
        """Make many empty files; they stay root's, who alone needs to be quick."""
        path = self.folder(name)
        directory = os.open(path, os.O_DIRECTORY)
        try:
            for number in range(count):
                flags = os.O_CREAT | os.O_WRONLY
                os.close(os.open(called(number), flags, 0o644, dir_fd=directory))
        finally:
            os.close(directory)
        return path


def open_panel(page: Page) -> None:
    """Open the panel of whoever a page belongs to, unless it is; its tab would close it."""
    tab = page.get_by_role("tab", name="CANFAR")
    expect(tab).to_be_visible()
    # What was open before, also in another browser, is open again by then.
    expect(page.locator("#jupyterlab-splash")).to_have_count(0)
    if tab.get_attribute("aria-selected") != "true":
        tab.click()


@dataclass
class Panel:
    """The panel, open in a page."""

    page: Page
    lab: Lab

    @property
    def url(self) -> str:
        """Where JupyterLab is."""
        return f"{self.lab.visitor.hub.public}/user/{self.lab.visitor.name}/{self.lab.session}/"

    def open(self, workspace: str = "test") -> None:
        """Load JupyterLab as it is at first, and open the panel."""
        # What an earlier page had open is kept a moment after that, and would be taken for this
        # page's: it ends first, and is forgotten then.
        self.page.goto("about:blank")
        self.lab.call("DELETE", f"lab/api/workspaces/{workspace}")
        self.page.goto(f"{self.url}lab/workspaces/{workspace}?reset")
        expect(self.page.locator("#jp-main-dock-panel")).to_be_visible()
        self.show()

    def show(self) -> None:
        """Open the panel, unless it is."""
        open_panel(self.page)
        expect(self.grid).to_be_visible()

    @property
    def storage(self) -> Locator:
        """The section for storage."""
        return self.page.locator(".canfar-storage")

    @property
    def grid(self) -> Locator:
        """The rows of the folder."""
        return self.storage.get_by_role("grid")

    def kept(self, area: str, path: str) -> None:
        """Wait until it is kept what is open; JupyterLab does that a moment later."""

        def is_kept() -> bool:
            kept = self.lab.call("GET", "lab/api/workspaces/test").json()["data"]
            found = kept.get("canfar:storage", {})
            return bool(found.get("area") == area and found.get("path") == path)

        wait_for(is_kept, f"{area} to be kept as what is open")

    def row(self, name: str) -> Locator:
        """The row of a file or folder."""
        return self.grid.get_by_role("row").filter(has=self.page.get_by_title(name, exact=True))

    def rows_drawn(self) -> int:
        """Count the rows in the document."""
        return self.storage.locator(".canfar-storage-row").count()

    def go(self, path: str) -> None:
        """Go to a path by typing it."""
        self.storage.get_by_role("button", name="Type a path").click()
        field = self.storage.get_by_label("Path", exact=True)
        field.fill(path)
        field.press("Enter")
        expect(field).to_have_count(0)

    def act(self, name: str, action: str) -> None:
        """Choose something from the menu of a file."""
        self.row(name).click(button="right")
        self.page.get_by_role("menuitem", name=action, exact=True).click()

    def upload(self, *files: Path) -> None:
        """Choose files of this computer and upload them to the open folder."""
        with self.page.expect_file_chooser() as chooser:
            self.storage.get_by_role("button", name="Upload files").click()
        chooser.value.set_files(list(files))

    def theme(self, name: str) -> None:
        """Set the theme and load the page again."""
        answer = self.lab.call(
            "PUT", f"lab/api/settings/{_THEME}", json={"raw": json.dumps({"theme": THEMES[name]})}
        )
        assert answer.status_code == 204, answer.text
        self.page.reload()
        self.show()

    def width(self, pixels: int) -> None:
        """Make the side bar as wide as said, by its handle."""
        panel = self.page.locator("#jp-left-stack")
        box = panel.bounding_box()
        assert box
        edge, middle = box["x"] + box["width"] + 1, box["y"] + box["height"] / 2
        self.page.mouse.move(edge, middle)
        self.page.mouse.down()
        self.page.mouse.move(edge + pixels - box["width"], middle, steps=4)
        self.page.mouse.up()
