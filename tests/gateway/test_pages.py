"""The gateway's own pages."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from canfar_spawner.gateway import pages
from tests.support.gateway_inside import Inside, inside
from tests.support.hub import ROOT

BROWSER = {"Accept": "text/html,*/*", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"}
HERE = ROOT / "canfar_spawner" / "gateway" / "pages"


async def page(found: Inside, path: str = "x") -> tuple[int, dict[str, str], str]:
    """Look at a page as somebody who is signed in."""
    entrance = found.gateway.entrance
    cookie = entrance._set(Asked(), entrance._cookie, "owners").partition(";")[0]  # type: ignore[arg-type]
    status, headers, body = await found.ask(path, who="", headers={**BROWSER, "Cookie": cookie})
    return status, dict(headers), body.decode()


class Asked:
    """As much of a request as setting a cookie looks at."""

    scheme = "http"


def test_they_have_the_colours_of_the_portal() -> None:
    source = ROOT / "canfar_spawner" / "portal" / "src"
    imported = re.findall(r'@import "([^"]*tokens\.css)"', (source / "portal.css").read_text())
    assert [(source / each).resolve() for each in imported] == [(HERE / "tokens.css").resolve()]


async def test_while_an_application_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with inside(tmp_path, None, title="<Stars & stripes>") as found:
        status, headers, text = await page(found)
        assert status == 503
        assert headers["Retry-After"] == "2"
        assert "&lt;Stars &amp; stripes&gt; is starting" in text
        assert '<meta http-equiv="refresh" content="2">' in text
        assert "services/sessions/logs" not in text
        nonce = re.search(r"script-src 'nonce-([^']+)'", headers["Content-Security-Policy"])
        assert nonce
        assert text.count(f'nonce="{nonce[1]}"') == 2
        monkeypatch.setattr("canfar_spawner.gateway.readiness._LATE", -1.0)
        _, _, text = await page(found)
        assert "takes longer than usual" in text
        assert 'href="/services/sessions/logs/abcd1234"' in text
        # A script is told in one line.
        status, headers, body = await found.ask("x")
        assert (status, body) == (503, f"{pages.STARTING}\n".encode())


async def test_when_an_application_does_not_answer(tmp_path: Path) -> None:
    async with inside(tmp_path, None) as found:
        found.gateway.readiness.ready = True
        status, headers, text = await page(found, "x?a=<b>")
        assert status == 502
        assert "frame-ancestors 'self'" in headers["Content-Security-Policy"]
        assert "<h1>The application does not answer</h1>" in text
        assert 'href="/services/sessions/logs/abcd1234"' in text
        assert "<b>" not in text
        assert 'href="/hub/home"' in text


async def test_the_page_in_front_of_a_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "_HERE", tmp_path)
    static = tmp_path / "some" / "static"
    static.mkdir(parents=True)
    (static / "index.html").write_text("<title>Page</title>")
    (static / "page.js").write_text("0;" * 5000)
    (static / "left.map").write_text("{}")
    async with inside(tmp_path, None, pages="some", transport="stream") as found:
        found.gateway.readiness.ready = True
        status, headers, body = await found.ask(headers={"Accept-Encoding": "identity"})
        assert (status, body) == (200, b"<title>Page</title>")
        assert dict(headers)["Content-Type"].startswith("text/html")
        assert "connect-src 'self'" in dict(headers)["Content-Security-Policy"]
        given = {"Accept-Encoding": "gzip"}
        status, headers, body = await found.ask("page.js", headers=given)
        assert (status, dict(headers)["Content-Encoding"]) == (200, "gzip")
        assert gzip.decompress(body) == b"0;" * 5000
        tag = {"If-None-Match": dict(headers)["Etag"]}
        assert (await found.ask("page.js", headers=tag))[0] == 304
        plain = {"Accept-Encoding": "identity"}
        _, _, about = await found.ask("session.json", headers=plain)
        assert json.loads(about) == {"home": "/hub/home"}
        _, _, about = await found.ask("session.json", who="visitors", headers=plain)
        assert json.loads(about)["owner"] == "ada.b@c", "a visitor is told whose session it is"
        for path in ("left.map", "../message.html", "%2e%2e/message.html", "page.js/", "other"):
            assert (await found.ask(path))[0] == 404
        assert (await found.ask("page.js", "POST"))[0] == 404
        assert (await found.ask("page.js", who=""))[0] == 401
