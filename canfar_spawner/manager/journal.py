"""The manager's log: a line for a person, or a JSON object for a machine, and no secret in it.

A line is never longer than a kilobyte, whoever has sent what.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from typing_extensions import override

VARIABLE: Final = "CANFAR_SESSIONS_LOG"
FORMS: Final = ("text", "json")
LONGEST: Final = 1000
"""Bytes of a line, without its end."""
_LOOKED_AT: Final = 8 * LONGEST
"""Characters of a message that are looked at: what is written of it is among them."""
_TEXT: Final = "[%(levelname).1s %(asctime)s %(name)s] %(message)s"
_DETAILS: Final = ("request", "operation", "owner", "session", "status", "ms")
_HIDDEN: Final = "…"
_SECRETS: Final = (
    # A header, or what a client makes of one.
    re.compile(r"(?i)(\b(?:bearer|token|basic)\s+)[A-Za-z0-9._~+/=-]{8,}"),
    # Named values of a query, a body or an environment.
    re.compile(
        r"(?i)(\b[\w-]*(?:token|secret|password|passwd|api_key|registry-auth)[\"']?\s*[=:]\s*)"
        r"[\"']?[^\s\"'&,;}]{4,}"
    ),
    # A query is the client's, and may hold anything.
    re.compile(r"(?<=[\w/])(\?)[\w.%-]+=[^\s\"')]*"),
    # JupyterHub's tokens.
    re.compile(r"()\b[0-9a-f]{32}\b"),
)


class LogForm(ValueError):
    """The form of the log is none that there is."""


def without_secrets(text: str) -> str:
    """Hide what looks like a token, a password or a query; what logs do not name is not there."""
    for pattern in _SECRETS:
        text = pattern.sub(rf"\1{_HIDDEN}", text)
    return text


def _printable(text: str, *, lines: bool = False) -> str:
    kept = "\n\t" if lines else ""
    return "".join(
        char if char.isprintable() or char in kept else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def _cut(text: str, most: int) -> str:
    data = text.encode("utf-8", "replace")
    if len(data) <= most:
        return data.decode()
    return data[: most - len(_HIDDEN.encode())].decode("utf-8", "ignore") + _HIDDEN


class TextForm(logging.Formatter):
    """Lines for a person; only a traceback takes more than one."""

    def __init__(self) -> None:
        super().__init__(_TEXT)

    @override
    def formatMessage(self, record: logging.LogRecord) -> str:
        """Write the message on one line, whatever is in it."""
        return _printable(super().formatMessage(record)[:_LOOKED_AT])

    @override
    def formatException(self, ei: Any) -> str:
        """Write the end of a traceback, which says what went wrong."""
        return super().formatException(ei)[-_LOOKED_AT:]

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Write a message and what went wrong."""
        text = without_secrets(_printable(super().format(record), lines=True))
        return "\n".join(_cut(line, LONGEST) for line in text.split("\n"))


class JsonForm(logging.Formatter):
    """One JSON object a line."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Write the object."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        for name in _DETAILS:
            value = getattr(record, name, None)
            if value not in (None, ""):
                line[name] = value if isinstance(value, int | float) else _cut(str(value), 80)
        line["message"] = without_secrets(record.getMessage()[:_LOOKED_AT])
        if record.exc_info:
            # Its end says what went wrong.
            error = self.formatException(record.exc_info)[-_LOOKED_AT:]
            line["error"] = without_secrets(error)
        return _fitting(line)


def _fitting(line: dict[str, Any]) -> str:
    """Write an object on a line, shortened where that is too long."""
    room = LONGEST
    while True:
        text = json.dumps(line, ensure_ascii=False, default=str)
        text = text.encode("utf-8", "replace").decode()
        over = len(text.encode()) - LONGEST
        if over <= 0 or room < 50:
            return text
        room = room * 2 // 3
        line["message"] = _cut(line["message"], room)
        if "error" in line:
            error = line["error"].encode("utf-8", "replace")
            line["error"] = error[-room // 2 :].decode("utf-8", "ignore")


def begin(environ: Mapping[str, str], *, stream: TextIO | None = None) -> None:
    """Have everything that is logged written in the form that is asked for.

    Parameters
    ----------
    environ : mapping of str to str
        ``CANFAR_SESSIONS_LOG`` is ``text``, the default, or ``json``.
    stream : file, optional
        By default standard error.

    Raises
    ------
    LogForm
    """
    form = environ.get(VARIABLE) or FORMS[0]
    if form not in FORMS:
        raise LogForm(f"{VARIABLE} must be {' or '.join(FORMS)}.")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonForm() if form == "json" else TextForm())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.INFO)


def note(
    log: logging.Logger,
    *,
    request: str,
    method: str,
    operation: str,
    status: int,
    ms: float,
    owner: str = "",
    session: str = "",
) -> None:
    """Write down that a request was answered: never its query, its body or a token.

    Parameters
    ----------
    log : logging.Logger
    request : str
        The request's id, which its answer has too.
    method, operation : str
        The route's own word, never the address that was asked for.
    status : int
    ms : float
        Milliseconds that it took.
    owner : str
        Whose token it was.
    session : str
        Which session it was about.
    """
    # What failed is looked for; that somebody lists her sessions every few seconds is not.
    level = logging.WARNING if status >= 500 else logging.INFO if status >= 400 else logging.DEBUG
    if method in ("POST", "PATCH", "DELETE") and operation not in ("tell", "heartbeat"):
        level = max(level, logging.INFO)
    log.log(
        level,
        "%d %s %s%s%s in %.0f ms",
        status,
        method,
        operation or "of no address",
        f" of {owner}" if owner else "",
        f" about {session}" if session else "",
        ms,
        extra={
            "request": request,
            "operation": operation,
            "owner": owner,
            "session": session,
            "status": status,
            "ms": round(ms, 1),
        },
    )
