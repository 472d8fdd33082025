"""Who a request comes from, and how a person signs in."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Final
from urllib.parse import urlencode

from tornado.web import create_signed_value, decode_signed_value

from canfar_spawner.gateway.origins import is_foreign, may_use_cookie
from canfar_spawner.gateway.request import SAFE, Request
from canfar_spawner.gateway.rewriting import is_secret
from canfar_spawner.gateway.settings import Settings
from canfar_spawner.gateway.tokens import Tokens

CALLBACK: Final = "oauth_callback"
_BEARER: Final = re.compile(r"(?:token|bearer)\s+(\S+)\s*$", re.IGNORECASE)
_COOKIE_DAYS: Final = 31
_STATE_FOR: Final = 600
"""Seconds that signing in may take."""
_LONGEST_NEXT: Final = 1500
_MOST_COOKIES: Final = 500


@dataclass(frozen=True)
class Guest:
    """Somebody whom the hub lets in."""

    name: str
    by_cookie: bool
    keeps_authorization: bool
    """Whether the header Authorization is the application's, not the hub's."""


class Refused(Exception):
    """A request that is not let in.

    Parameters
    ----------
    status : int
    sentence : str
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


SIGN_IN: Final = Refused(401, "Sign in, or show a token of the hub that opens this session.")
FOREIGN: Final = Refused(403, "This request comes from another site's page.")
CLOSED: Final = Refused(403, "This session is not open to you. Ask its owner to share it with you.")


class Entrance:
    """Finds out who asks, and signs people in.

    Parameters
    ----------
    settings : Settings
    tokens : Tokens
    secret_header : tuple of str or None
        What the gateway shows the application.
    """

    def __init__(
        self, settings: Settings, tokens: Tokens, secret_header: tuple[str, str] | None
    ) -> None:
        self._settings = settings
        self._tokens = tokens
        self._secret_header = secret_header
        # Signed-in people stay so over a restart.
        self._key = hashlib.sha256(f"cookies {settings.token}".encode()).hexdigest()
        self._cookie: str = tokens.hub.cookie_name
        self._state_cookie: str = tokens.hub.state_cookie_name
        self._pattern = _cookie_pattern(self._cookie)
        self._read: OrderedDict[str, str] = OrderedDict()

    # Who it is.

    def credentials(self, request: Request) -> tuple[str, str]:
        """Give the tokens of a request: by its header, and by its cookie where that counts.

        Raises
        ------
        Refused
            Another site's page makes the request.
        """
        public = self._settings.public
        headers = request.headers
        if is_foreign(headers, public=public):
            raise FOREIGN
        shown = ""
        authorization = headers.get("Authorization")
        if authorization and not is_secret(headers, self._secret_header):
            found = _BEARER.match(authorization)
            shown = found[1] if found else ""
        cookie = self.token_in_cookie(headers.get("Cookie", ""))
        if cookie:
            changes = request.method not in SAFE or request.is_websocket()
            if not may_use_cookie(headers, changes=changes, public=public):
                if not shown:
                    raise FOREIGN
                cookie = ""
        return shown, cookie

    def token_in_cookie(self, header: str) -> str:
        """Give the token that signing in has left in a browser, empty where there is none."""
        if self._cookie not in header:
            return ""
        for value in self._pattern.findall(header):
            token = self._read.get(value)
            if token is None:
                signed = decode_signed_value(
                    self._key, self._cookie, value, max_age_days=_COOKIE_DAYS, min_version=2
                )
                token = signed.decode("ascii", "replace") if signed else ""
                if not token:
                    # Another session's page may have put one of the same name beside ours.
                    continue
                self._read[value] = token
                while len(self._read) > _MOST_COOKIES:
                    self._read.popitem(last=False)
            return token
        return ""

    # Signing in.

    def login(self, request: Request) -> tuple[str, dict[str, str]]:
        """Give the hub's address for signing in, and the headers that go with it."""
        browser = self._browser(request) or secrets.token_urlsafe(16)
        target = request.target if len(request.target) <= _LONGEST_NEXT else self._settings.prefix
        state = self._state(browser, target)
        verifier = self._verifier(state)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        words = {
            "state": state,
            "code_challenge": challenge.decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        cookie = self._set(request, self._state_cookie, browser, max_age=_STATE_FOR)
        return f"{self._tokens.hub.login_url}&{urlencode(words)}", {"Set-Cookie": cookie}

    async def callback(self, request: Request) -> tuple[str, dict[str, str]]:
        """Take somebody back whom the hub has signed in: where to go, and the headers for it.

        Raises
        ------
        Refused
            It was not this browser that went to sign in, or the hub did not sign anybody in.
        """
        state = request.argument("state")
        browser = self._browser(request)
        target = self._target(state, browser)
        if target is None:
            raise Refused(403, "Signing in did not work. Open the session's page again.")
        code = request.argument("code")
        if not code:
            raise CLOSED
        try:
            token: str = await self._tokens.hub.token_for_code(
                code, code_verifier=self._verifier(state), sync=False
            )
        except Exception:  # noqa: BLE001 - the hub refuses or is away; signing in again finds out
            raise Refused(403, "Signing in did not work. Open the session's page again.") from None
        return target, {"Set-Cookie": self._set(request, self._cookie, token)}

    def _browser(self, request: Request) -> str:
        """Give the random name that a browser got when it went to sign in."""
        header = request.headers.get("Cookie", "")
        if self._state_cookie not in header:
            return ""
        for value in _cookie_pattern(self._state_cookie).findall(header):
            signed = decode_signed_value(
                self._key, self._state_cookie, value, max_age_days=1, min_version=2
            )
            if signed:
                return str(signed.decode("ascii", "replace"))
        return ""

    def _state(self, browser: str, target: str) -> str:
        # Nothing is kept here: whoever comes without signing in takes no memory.
        said = json.dumps([target, int(time.time()), secrets.token_urlsafe(12)])
        content = base64.urlsafe_b64encode(said.encode()).decode().rstrip("=")
        return f"{content}.{self._mac('state', browser, content)}"

    def _target(self, state: str, browser: str) -> str | None:
        content, _, mac = state.partition(".")
        if not browser or not hmac.compare_digest(
            mac.encode("utf-8", "replace"), self._mac("state", browser, content).encode()
        ):
            return None
        try:
            padded = content + "=" * (-len(content) % 4)
            target, begun, _ = json.loads(base64.urlsafe_b64decode(padded))
        except (ValueError, binascii.Error):  # pragma: no cover - it was signed here
            return None
        return str(target) if time.time() - begun <= _STATE_FOR else None

    def _verifier(self, state: str) -> str:
        return self._mac("verifier", state)

    def _mac(self, *parts: str) -> str:
        said = "\0".join(parts).encode()
        digest = hmac.new(self._key.encode(), said, hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def _set(self, request: Request, name: str, value: str, *, max_age: int | None = None) -> str:
        """Give a cookie that only this session's address gets."""
        signed = create_signed_value(self._key, name, value).decode()
        jar: SimpleCookie = SimpleCookie()
        jar[name] = signed
        found = jar[name]
        for key, said in self._settings.cookie_options.items():
            if key.lower() in found or key.lower() == "samesite":
                found[key.lower()] = str(said) if not isinstance(said, bool) else said
        found["path"] = "/" if self._settings.host_cookies else self._settings.prefix
        found["httponly"] = True
        found["samesite"] = found["samesite"] or "Lax"
        if request.scheme == "https" or self._settings.host_cookies:
            found["secure"] = True
        if max_age is not None:
            found["max-age"] = max_age
        elif not found["expires"]:
            found["max-age"] = _COOKIE_DAYS * 24 * 3600
        return found.OutputString()


def _cookie_pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf'(?:^|;)\s*{re.escape(name)}="?([^";\s]*)"?\s*(?=;|$)')
