"""The session manager, as a session's server asks it: with the token of whoever asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse

_PATIENCE: Final = 15.0


@dataclass(frozen=True)
class Manager:
    """Where it is."""

    address: str
    """Without a slash at the end; empty: nowhere."""

    async def ask(
        self,
        path: str,
        token: str | None,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> HTTPResponse | None:
        """Put a question; None where nobody answers.

        Parameters
        ----------
        path : str
            Below its ``v1/``.
        token : str
            Of whoever asks: by it is decided.
        method : str
        headers : mapping, optional
        body : bytes, optional
        """
        if not self.address:
            return None
        request = HTTPRequest(
            f"{self.address}/v1/{path}",
            method=method,
            headers={**(headers or {}), "Authorization": f"Bearer {token}"},
            body=body,
            allow_nonstandard_methods=True,
            follow_redirects=False,
            request_timeout=_PATIENCE,
        )
        try:
            return await AsyncHTTPClient().fetch(request, raise_error=False)
        except (OSError, HTTPClientError):
            return None
