"""CARTA's own page through the gateway: it lists a project, opens the sample cube by its address and
draws it, and takes scripts with a token.

Its server is the one that CANFAR_CARTA names, or else a stand-in; the test says which.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import Need, sign_in
from tests.support.carta_standin import images, wire
from tests.support.carta_standin.install import CHOSEN, PAGE
from tests.support.carta_standin.install import page as built_page
from tests.support.hub import Hub, Visitor, _ThisMachine, wait_for

pytestmark = pytest.mark.browser

CUBE = "line_cube.fits"
CHANNEL = 16
"""The one that has the most of the line."""
SCALE = (-0.01, 0.08)
PATIENCE = 240_000
"""Milliseconds for a page of 20 MB that draws without a graphics card, on a machine at its limits."""
_LOOKS = 20
"""How often it is looked at what is drawn, before that is asked for again."""
WORST = {"stand-in": 3, "real": 12}
"""How many of 256 steps of grey a pixel may be off; a real server compresses what it sends."""
COVERED = 48
"""Pixels at the upper edge of the image where the page writes what is below the cursor, and as many at
the lower edge, for its buttons."""


def test_the_stand_in_speaks_the_language_of_the_page(need: Need) -> None:
    need(
        PAGE,
        built_page().is_dir(),
        f"get it with: python3 -m canfar_spawner.local.build prepare {PAGE}",
    )
    (script,) = (
        text
        for path in built_page().glob("static/js/index.*.js")
        if "IcdVersion" in (text := path.read_text())
    )
    assert f"this.IcdVersion={wire.ICD_VERSION}}}" in script
    for name, (number, _) in wire.EVENTS.items():
        assert f'[{number}]="{name}"]={number}' in script, name
    for message, fields in wire.MESSAGES.items():
        if message == "NamedInfo":
            continue
        begin = script.index(f".{message}=function(){{function e(e){{")
        decode = script[script.index(".decode=function", begin) :].partition("decodeDelimited")[0]
        for name, (number, kind) in fields.items():
            case = re.search(
                rf"case {number}:{{?if\((\d)[!=]==\w\)(.*?)(?=case \d+:|skipType)", decode
            )
            assert case, f"{message}.{name}"
            assert int(case[1]) == wire.wire_type(kind), f"{message}.{name}"
            assert f".{name}" in case[2], f"{message}.{name}"
            base = kind.lstrip("*")
            of = base.removeprefix("of ") if base.startswith("of ") else ""
            if of and of != "NamedInfo":
                assert f"CARTA.{of}.decode(" in case[2], f"{message}.{name}"
            elif base in ("fixed32", "sfixed32", "sfixed64", "float", "double", "string", "bytes"):
                assert f"e.{base}()" in case[2], f"{message}.{name}"


@dataclass
class Carta:
    """A session with CARTA, as its owner's browser and scripts see it."""

    hub: Hub
    owner: Visitor
    session: str
    page: Page
    server: str
    """``real`` or ``stand-in``."""
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", lambda message: self.said.append(message.text))

    @property
    def address(self) -> str:
        """Where a browser reaches it."""
        host = self.hub.host if self.hub.host == "127.0.0.1" else f"ada.{self.hub.host}"
        return f"http://{host}:{self.hub.port}/user/ada/{self.session}/"

    def call(self, method: str, path: str, body: object, token: str) -> httpx.Response:
        """Call CARTA's own API as a script does, with a token of the hub's."""
        with httpx.Client(transport=_ThisMachine(), timeout=PATIENCE / 1000) as client:
            headers = {"Authorization": f"Bearer {token}"}
            return client.request(method, f"{self.address}{path}", headers=headers, json=body)

    def connected(self) -> int:
        """Wait until the page is connected to the server and give the number of its connection."""

        def number() -> int:
            # Playwright hears of what the page says while it waits.
            self.page.wait_for_timeout(50)
            found = re.search(r"Connected with session ID (\d+)", "\n".join(self.said))
            return int(found[1]) if found else 0

        given: int = wait_for(number, "CARTA's page to be connected", seconds=PATIENCE / 1000)
        self.said.clear()
        return given

    def script(
        self, connection: int, path: str, action: str, *parameters: object
    ) -> dict[str, Any]:
        """Have the page carry out an action, by CARTA's scripting interface."""
        asked = {
            "session_id": connection,
            "path": path,
            "action": action,
            "parameters": list(parameters),
            "async": False,
        }
        answer = self.call("POST", "api/scripting/action", asked, self.owner.token)
        assert answer.status_code == 200, f"{path}.{action}: {answer.status_code} {answer.text}"
        found: dict[str, Any] = answer.json()
        assert found["success"], found
        return found

    def log(self) -> str:
        """What the server wrote."""
        (log,) = (self.hub.data / "run").glob(f"{self.session}-*/session.log")
        return log.read_text()


@pytest.fixture
def carta(
    hub: Hub, page: Page, carta_server: str, need: Need, capsys: pytest.CaptureFixture[str]
) -> Iterator[Carta]:
    need(
        PAGE,
        bool(carta_server),
        f"get it with: python3 -m canfar_spawner.local.build prepare {PAGE}",
    )
    server = "real" if os.environ.get(CHOSEN) else "stand-in"
    with capsys.disabled():
        print(f"\ncarta_backend: {server}")
    owner = hub.sign_in("ada")
    session = "carta001"
    answer = owner.launch(
        session, container="carta", projects=["demo"], open=f"/arc/projects/demo/{CUBE}"
    )
    assert answer.status_code in (201, 202), answer.text
    owner.wait_ready(session)
    yield Carta(hub, owner, session, page, server)
    owner.stop(session)


def shown(page: Page) -> Image.Image:
    """Give the picture of the image's canvas as it is on the screen."""
    box = page.locator("#raster-canvas").bounding_box()
    assert box is not None
    whole = page.screenshot(clip=box)
    return Image.open(io.BytesIO(whole)).convert("RGB")


def differences(picture: Image.Image, pixels: tuple[float, ...], side: int) -> list[int]:
    """Compare a picture with the pixels of a square image that it shows whole, in shades of grey."""
    zoom = min(picture.width, picture.height) / side
    low, high = SCALE
    found = []
    for row in range(side):
        y = round(picture.height / 2 - (row - (side - 1) / 2) * zoom - 0.5)
        if not COVERED <= y < picture.height - COVERED:
            continue
        for column in range(side):
            x = round(picture.width / 2 + (column - (side - 1) / 2) * zoom - 0.5)
            share = (pixels[row * side + column] - low) / (high - low)
            drawn = picture.getpixel((x, y))
            assert isinstance(drawn, tuple)
            found.append(max(abs(part - round(255 * min(1, max(0, share)))) for part in drawn))
    return found


def test_a_cube_is_opened_by_its_address_and_drawn(carta: Carta, screenshots: Path) -> None:
    page, hub = carta.page, carta.hub
    # Nobody is asked whether CARTA may send home how it is used: the page would wait for an answer.
    quiet = {"telemetryConsentShown": True, "telemetryMode": "none"}
    for token, status in (("x" * 32, 401), (carta.owner.token, 200)):
        answer = carta.call("PUT", "api/database/preferences", quiet, token)
        assert answer.status_code == status, answer.text

    sign_in(page, hub, "ada")
    page.goto(carta.address, wait_until="commit")
    page.wait_for_url(re.compile(r"folder=projects%2Fdemo&file=line_cube\.fits$"))
    connection = carta.connected()
    expect(page.get_by_text(CUBE).first).to_be_visible(timeout=PATIENCE)

    cube = images.read_image(hub.data / "arc" / "projects" / "demo" / CUBE)
    pixels = images.plane(cube, CHANNEL)

    def off() -> list[int]:
        page.wait_for_timeout(500)
        return differences(shown(page), pixels, cube.width)

    limit = WORST[carta.server]

    def drawn() -> bool:
        # Said again: a file that is still being opened begins with its first plane after this.
        carta.script(connection, "activeFrame.renderConfig", "setColorMap", "gray")
        carta.script(connection, "activeFrame", "setChannel", CHANNEL)
        carta.script(connection, "activeFrame.renderConfig", "setCustomScale", *SCALE)
        # The page fits an image to its panel once, which on a busy machine was seen before the panel had
        # its size: the image was then a single point.
        carta.script(connection, "activeFrame", "fitZoom")
        return any(max(off()) <= limit for _ in range(_LOOKS))

    wait_for(drawn, "the plane to be drawn", seconds=PATIENCE / 1000)
    found = off()
    assert len(found) > 0.75 * len(pixels), "most of the image is seen"
    # The comparison can fail: the plane beside it is another picture.
    assert max(differences(shown(page), images.plane(cube, 0), cube.width)) > 100
    name = "carta.png" if hub.host == "127.0.0.1" else "carta-own-origin.png"
    page.screenshot(path=screenshots / name)

    # Without a file it shows what is in the folder that it began with.
    page.goto(f"{carta.address}?folder=projects/demo", wait_until="commit")
    carta.connected()
    for name in (CUBE, "field_g.fits"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible(timeout=PATIENCE)
    assert "?token=" not in carta.log()
