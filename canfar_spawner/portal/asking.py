"""What a page was asked for beside its address: JupyterHub gives its templates no request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Final

from tornado import web

_LONGEST: Final = 2048
_query: ContextVar[Mapping[str, Sequence[bytes]]] = ContextVar("query")


def note_query(query: Mapping[str, Sequence[bytes]]) -> None:
    """Note the query of the request that is answered from here on."""
    _query.set(query)


def refuse_no_text(query: Mapping[str, Sequence[bytes]]) -> None:
    """Refuse a query with a value that is no text, on which JupyterHub's own pages break.

    Raises
    ------
    tornado.web.HTTPError
        400.
    """
    for values in query.values():
        for value in values:
            try:
                value.decode()
            except UnicodeDecodeError:
                message = "The address holds bytes that are not UTF-8 text."
                # With a reason besides, JupyterHub's page of errors shows the message.
                raise web.HTTPError(400, message, reason="Bad Request") from None


def asked(name: str) -> str:
    """Give a parameter of the query; empty where it is not given, not once, or no text."""
    values = [value for value in _query.get({}).get(name, ()) if value]
    if len(values) != 1 or len(values[0]) > _LONGEST:
        return ""
    try:
        return values[0].decode()
    except UnicodeDecodeError:
        return ""
