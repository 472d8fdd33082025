"""A desktop session as a person uses it: the screen, the keyboard, the clipboard's panel."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops
from playwright.sync_api import Page, expect

from tests.support.hub import wait_for
from tests.support.sky import Sky

SKY = Sky()
ZOOM = 4
CONNECTED = "html[data-state=connected]"
RADIUS = 8
"""Of the ring around the star: pixels of the image, which are arc seconds."""
_BUTTON = (40, 20)
"""The menu's button: from the left and from the bottom."""
_MENU = (225, 60)
"""A place that the menu covers: likewise."""
_DARK = 60
_MENU_WITHIN = 10.0
_TERMINAL_WITHIN = 20.0
_NEAR = 3.0
Point = tuple[float, float]


@dataclass
class Desktop:
    """One that is open in a browser.

    Parameters
    ----------
    page : Page
    read : callable
        Gives what a file of the home holds; empty where there is none.
    """

    page: Page
    read: Callable[[str], str]

    def connected(self) -> None:
        """Wait until the screen is there."""
        self.page.wait_for_selector(CONNECTED)

    def box(self) -> tuple[float, float, float, float]:
        """Give where the screen is on the page: left, top, width and height."""
        found = self.page.locator("#screen canvas").bounding_box()
        assert found
        return found["x"], found["y"], found["width"], found["height"]

    def start(self, words: str) -> None:
        """Start a program from the bare desktop by the menu, which is searched by typing."""
        left, top, _, height = self.box()
        until = 0.0

        def opened() -> bool:
            nonlocal until
            if self._shows_menu():
                return True
            if time.monotonic() > until:
                # The panel may not be there yet.
                self.page.mouse.click(left + _BUTTON[0], top + height - _BUTTON[1])
                until = time.monotonic() + _MENU_WITHIN
            return False

        wait_for(opened, "the menu")
        self.page.keyboard.type(words, delay=20)
        self.page.keyboard.press("Enter")

    def _shows_menu(self) -> bool:
        picture = self.picture()
        found = picture.getpixel((_MENU[0], picture.height - _MENU[1]))
        return isinstance(found, tuple) and max(found) < _DARK

    def picture(self) -> Image.Image:
        """Give what the screen shows."""
        left, top, width, height = self.box()
        clip = {"x": left, "y": top, "width": width, "height": height}
        shot = self.page.screenshot(clip=clip)  # type: ignore[arg-type]
        return Image.open(io.BytesIO(shot)).convert("RGB")

    def type(self, line: str) -> None:
        """Type a line in the window that has the keyboard."""
        self.page.keyboard.type(f"{line}\n", delay=3)

    def terminal(self) -> str:
        """Open a terminal over the whole screen; gives its shell's process."""
        until = 0.0

        def answers() -> bool:
            nonlocal until
            if time.monotonic() > until:
                # A menu that has just been drawn may not listen yet: what was typed is nobody's.
                self.start("terminal")
                until = time.monotonic() + _TERMINAL_WITHIN
            return self._shell_answers()

        wait_for(answers, "a terminal")
        self.page.keyboard.press("Alt+F10")
        return self.said("echo $$", "shell")

    def _shell_answers(self, name: str = "opened") -> bool:
        self.type(f"echo here > {name}")
        return "here" in self.read(name)

    def in_front(self, left: float, top: float) -> None:
        """Click a place of the terminal, and wait until it has the keyboard."""
        x, y, _, _ = self.box()
        self.page.mouse.click(x + left, y + top)
        wait_for(lambda: self._shell_answers("front"), "the terminal to listen")

    def said(self, command: str, name: str) -> str:
        """Run a command in the terminal, and give what it writes."""
        self.type(f"{command} > {name}.part; mv {name}.part {name}")
        found: str = wait_for(lambda: self.read(name).strip(), f"{command!r} to write")
        return found

    def put(self, text: str) -> None:
        """Write a text in the clipboard's panel, and close the panel."""
        self.page.get_by_role("button", name="Clipboard", exact=True).click()
        self.page.get_by_role("textbox", name="Clipboard").fill(text)
        self.page.get_by_role("button", name="Close").click()

    def panel(self) -> str:
        """Give what the clipboard's panel has."""
        return self.page.get_by_role("textbox", name="Clipboard", include_hidden=True).input_value()


def close_to_its_position(desktop: Desktop) -> str:
    """Let DS9 show the image with a ring at the star's position; says how far they are apart."""
    right, up = SKY.position
    ring = f'icrs; circle({right:.8f},{up:.8f},{RADIUS}") # color=magenta width=2'
    desktop.type(f"echo '{ring}' > star.reg")
    words = f"-title sky -geometry 700x620 -scale minmax -zoom {ZOOM} star.fits -regions star.reg"
    desktop.type(f"ds9 {words} > /dev/null 2>&1 &")
    found: tuple[Point, Point] = wait_for(
        lambda: _star_and_ring(desktop.picture()), "the star and the ring in DS9"
    )
    star, middle = found
    apart = ((star[0] - middle[0]) ** 2 + (star[1] - middle[1]) ** 2) ** 0.5
    assert apart <= _NEAR, f"the star is at {star}, its position at {middle}"
    return f"{apart:.1f} px"


def end_ds9(desktop: Desktop) -> None:
    """Go back to the terminal, beside DS9's window, and end DS9 from there."""
    desktop.in_front(1000, 400)
    desktop.type("kill %1")


def _star_and_ring(picture: Image.Image) -> tuple[Point, Point] | None:
    """Find the middle of the ring, and of what is white within; nothing until both are there."""
    # Without the panel, whose icons have every colour.
    picture = picture.crop((0, 0, picture.width, picture.height - 2 * _BUTTON[1]))
    red, green, blue = (band.point(lambda value: 255 * (value > 160)) for band in picture.split())
    ring = ImageChops.subtract(ImageChops.darker(red, blue), green)
    box = ring.getbbox()
    if box is None:
        return None
    left, top, right, bottom = box
    across = 2 * RADIUS * ZOOM
    if abs(right - left - across) > _NEAR * 2 or abs(bottom - top - across) > _NEAR * 2:
        return None
    white = ImageChops.darker(ImageChops.darker(red, green), blue).crop(box)
    star = white.getbbox()
    if star is None:
        return None
    middle = left + (star[0] + star[2]) / 2, top + (star[1] + star[3]) / 2
    return middle, ((left + right) / 2, (top + bottom) / 2)


def both_ways(desktop: Desktop) -> None:
    """Take text out of the desktop and into it, by the panel."""
    # What is typed are keys that keyboards have.
    desktop.type(r"clear; printf 'Gr\u00f6\u00dfe: 3 mJy\n'")
    left, top, _, _ = desktop.box()
    # The first line of a terminal over the whole screen, below its title.

    def taken() -> bool:
        desktop.page.mouse.click(left + 60, top + 45, click_count=3)
        return "Größe: 3 mJy" in desktop.panel()

    wait_for(taken, "what was selected in the terminal")
    desktop.put("Kürzel é, 14h39m36s")
    # The text comes when the terminal has asked for it: what is pressed meanwhile comes before.
    desktop.type("stty -icanon; cat > pasted")
    desktop.page.keyboard.press("Control+Shift+V")
    wait_for(lambda: desktop.read("pasted").strip() == "Kürzel é, 14h39m36s", "the pasted text")
    desktop.page.keyboard.press("Control+c")
    desktop.type("stty sane; clear")


def resized(desktop: Desktop, width: int, height: int) -> None:
    """Make the browser's window another size, which the desktop's screen follows."""
    desktop.page.set_viewport_size({"width": width, "height": height})
    expect(desktop.page.locator("#screen canvas")).to_have_js_property("width", width)
    screen = desktop.page.locator("#screen").bounding_box()
    assert screen
    size = f"{screen['width']:.0f}x{screen['height']:.0f}"
    desktop.type(f"until xdpyinfo | grep {size} > sized; do sleep 0.1; done")
    wait_for(lambda: re.search(rf"{size} pixels", desktop.read("sized")), "the screen's new size")


_KEEP_WHAT_IS_SAID = """() => {
  const message = document.getElementById("message");
  window.said = [];
  new MutationObserver(() => {
    if (!message.hidden) window.said.push(message.innerText);
  }).observe(message, { subtree: true, childList: true, characterData: true, attributes: true });
}"""


def comes_back(
    desktop: Desktop, drop: Callable[[], None], restore: Callable[[], None], shell: str
) -> None:
    """Lose the network and the connection; when both are back, so is the same desktop.

    Parameters
    ----------
    desktop : Desktop
    drop : callable
        Breaks the connection, and sees that for a while none is made again.
    restore : callable
    shell : str
        The terminal's process.
    """
    page = desktop.page
    # Whatever is said is kept: a gateway may be back before anybody has looked.
    page.evaluate(_KEEP_WHAT_IS_SAID)
    page.context.set_offline(True)
    drop()
    try:
        said = page.wait_for_function(
            "() => window.said.find((text) => text.includes('The connection was lost'))"
        ).json_value()
        assert re.search(r"Nothing in the desktop is lost|Your programs go on in the desktop", said)
    finally:
        restore()
    page.context.set_offline(False)
    desktop.connected()
    expect(page.locator("#message")).to_be_hidden()
    assert desktop.said("echo $$", "again") == shell, "the terminal is the same"


def home_reader(home: Path) -> Callable[[str], str]:
    """Read files of a home that is on this machine."""

    def read(name: str) -> str:
        try:
            return (home / name).read_text()
        except FileNotFoundError:
            return ""

    return read
