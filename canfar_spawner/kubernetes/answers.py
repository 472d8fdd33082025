"""What the answers of the Kubernetes API mean, and how long there is time for them.

An error says what the server decided. It never quotes what was sent, because manifests hold
secrets.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from typing import Any, Final

from typing_extensions import override

NOT_THE_SERVER: Final = "NotTheApiServer"
"""The reason of an answer that something else gave, or a server that is still starting."""
_LONGEST_MESSAGE: Final = 600


class Budget:
    """The time in which an answer is of use, handed down from whoever waits for it.

    Parameters
    ----------
    seconds : float
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Give the seconds that are left, never less than none."""
        return max(0.0, self._end - time.monotonic())


class ApiError(Exception):
    """The API server refused, or did not answer.

    Parameters
    ----------
    status : int
        The HTTP status; 0 where there was no answer.
    reason : str
        The server's word for it, such as ``AlreadyExists``.
    message : str
        Its sentence, without anything of what was sent.
    retry_after : float, optional
        Seconds after which it wants to be asked again.
    """

    def __init__(
        self, status: int, reason: str, message: str = "", *, retry_after: float | None = None
    ) -> None:
        super().__init__(status, reason, message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    @override
    def __str__(self) -> str:
        head = " ".join(word for word in (str(self.status or ""), self.reason) if word)
        return f"{head}: {self.message}" if self.message else head


class NotFound(ApiError):
    """The API server itself says that there is no such object."""


class AlreadyExists(ApiError):
    """An object of that name is there."""


class Conflict(ApiError):
    """The object is not, or not any more, the one that was meant."""


class Forbidden(ApiError):
    """Rights, a quota or an admission check stand against it."""


class Gone(ApiError):
    """The resource version, or the page of a list, is too old."""


class Invalid422(ApiError):
    """The object is not acceptable as it is."""


class Unreachable(ApiError):
    """No answer that means anything came within the budget; the request may have been carried out."""


_BY_REASON: Final[Mapping[tuple[int, str], type[ApiError]]] = {
    (404, "NotFound"): NotFound,
    (409, "AlreadyExists"): AlreadyExists,
}
_BY_STATUS: Final[Mapping[int, type[ApiError]]] = {
    403: Forbidden,
    409: Conflict,
    410: Gone,
    422: Invalid422,
}


def _message(status: int, answer: Mapping[str, Any]) -> str:
    """Give the server's sentence, without values that it quotes from the request."""
    details = answer.get("details")
    causes = details.get("causes") if isinstance(details, Mapping) else None
    if status == 422 and isinstance(causes, list):
        fields = [cause for cause in causes if isinstance(cause, Mapping) and cause.get("field")]
        if fields:
            text = ", ".join(f"{cause['field']}: {cause.get('reason', '')}" for cause in fields)
            return text[:_LONGEST_MESSAGE]
    elif status == 400:
        return ""
    return str(answer.get("message") or "")[:_LONGEST_MESSAGE]


def _seconds(header: str | None) -> float | None:
    """Read ``Retry-After``; Kubernetes writes seconds only."""
    try:
        return None if header is None else min(max(float(header), 0.0), 3600.0)
    except ValueError:
        return None


def api_error(
    status: int, body: bytes | Mapping[str, Any], retry_after: str | None = None
) -> ApiError:
    """Make an error of an answer.

    Parameters
    ----------
    status : int
    body : bytes or mapping
    retry_after : str, optional
        The header's value.
    """
    answer: Any = body
    if isinstance(body, bytes):
        with contextlib.suppress(ValueError):
            answer = json.loads(body)
    wait = _seconds(retry_after)
    if not isinstance(answer, Mapping) or answer.get("kind") != "Status":
        # A proxy on the way, or a server that is still starting: proof of nothing.
        return ApiError(status, NOT_THE_SERVER, retry_after=wait)
    reason = str(answer.get("reason") or "")
    known = _BY_REASON.get((status, reason)) or _BY_STATUS.get(status, ApiError)
    return known(status, reason, _message(status, answer), retry_after=wait)


def object_of(raw: bytes) -> dict[str, Any]:
    """Read a JSON object."""
    found = json.loads(raw)
    if not isinstance(found, dict):
        raise ValueError("not an object")  # noqa: TRY004 - like any other text that is not one
    return found


def text_of(raw: bytes) -> str:
    """Read text."""
    return raw.decode(errors="replace")
