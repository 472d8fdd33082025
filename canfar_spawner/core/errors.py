"""Errors of the platform: one root, two branches, a stable code on each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

__all__ = [
    "Conflict",
    "Invalid",
    "LimitReached",
    "NotAllowed",
    "NotYours",
    "PlatformError",
    "Refused",
    "RequestRefused",
    "SessionError",
    "StartFailed",
    "Unavailable",
]


_LONGEST_LISTING: Final = 240


def shown(value: object, *, limit: int = 60) -> str:
    """Give hostile or long input in a form that fits one log line and one sentence."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except (RecursionError, ValueError):  # nested too deep, or a number of thousands of digits
        text = "something too long to show"
    text = text[: limit + 1]
    text = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def listing(words: Iterable[object], *, conjunction: str = "or") -> str:
    """Join words the way a sentence does: ``1, 2 or 4``; of very many only the first."""
    texts = [str(word) for word in words]
    if len(texts) < 2:
        return "".join(texts)
    room = _LONGEST_LISTING
    for count, text in enumerate(texts):
        room -= len(text) + 2
        if room < 0 and count:
            texts[count:] = [f"{len(texts) - count} more"]
            break
    return f"{', '.join(texts[:-1])} {conjunction} {texts[-1]}"


class SessionError(Exception):
    """Anything that keeps a session from being what was asked for.

    Parameters
    ----------
    sentence : str
        Safe to show to the user: what was wrong, what is allowed, what to do.
    field : str, optional
        The request field it belongs to; empty for the request as a whole.
    allowed : iterable of str, optional
        The values that would have been accepted, where they can be listed.
    detail : str, optional
        For the log alone.
    code : str, optional
        Stable machine word; defaults to the class's own.
    """

    code = "error"
    status = 500

    def __init__(
        self,
        sentence: str,
        *,
        field: str = "",
        allowed: Iterable[object] = (),
        detail: str = "",
        code: str = "",
    ) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.field = field
        self.allowed = tuple(str(value) for value in allowed)
        self.detail = detail
        if code:
            self.code = code

    def as_json(self) -> dict[str, object]:
        """Give the body of a REST refusal; ``message`` is what JupyterHub's own errors use."""
        return {
            "status": self.status,
            "message": self.sentence,
            "code": self.code,
            "field": self.field,
            "allowed": list(self.allowed),
        }


class RequestRefused(SessionError):
    """The request cannot be granted as it stands; asking differently may help."""

    code = "refused"
    status = 400


class Invalid(RequestRefused):
    """A field has a form or a value that no request may have."""

    code = "invalid"


class NotAllowed(RequestRefused):
    """Well-formed, but this site or this user's groups do not permit it."""

    code = "not_allowed"


class LimitReached(RequestRefused):
    """The user already has as much as the site grants."""

    code = "limit_reached"


class NotYours(RequestRefused):
    """The session belongs to somebody else."""

    code = "not_yours"
    status = 403


class Conflict(RequestRefused):
    """The request contradicts what already exists."""

    code = "conflict"
    status = 409


class PlatformError(SessionError):
    """The platform could not do what it should; the user did nothing wrong."""

    code = "platform"


class Unavailable(PlatformError):
    """A part of the platform did not answer."""

    code = "unavailable"
    status = 503
    retry_after = 5
    """Seconds after which it is worth another try."""


class Busy(Unavailable):
    """There is as much of something at this moment as there may be.

    Parameters
    ----------
    sentence : str
    retry_after : int
        Seconds after which it is worth another try.
    """

    def __init__(self, sentence: str, retry_after: int) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class Refused(PlatformError):
    """The back end refused a plan that the core had accepted."""

    code = "backend_refused"
    status = 424


class StartFailed(PlatformError):
    """The session's program could not be started."""

    code = "start_failed"
    status = 424
