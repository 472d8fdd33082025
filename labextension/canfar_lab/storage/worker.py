"""The helper process that reads folders, so that the server never waits for one.

It gets a line of JSON for each request and answers with a length, a word and a body, in their
order. It keeps nothing but names, holds no token, and ends when its input does.
"""

from __future__ import annotations

import json
import os
import select
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from canfar_lab.storage.areas import Areas, from_environment
from canfar_lab.storage.entries import entry
from canfar_lab.storage.errors import Refused
from canfar_lab.storage.folders import Folders
from canfar_lab.storage.pages import page
from canfar_lab.storage.usage import usage

HEADER = struct.Struct(">IH?")
"""Bytes of the body, status of HTTP, and whether the body is compressed."""
_SMALL = 1024
"""Bytes that are not worth compressing."""
_FASTEST = 1

Answer = Callable[[Mapping[str, str]], dict[str, Any]]


def answered(answers: Mapping[str, Answer], line: bytes) -> tuple[int, dict[str, Any]]:
    """Answer one request.

    Returns
    -------
    tuple
        The status of HTTP and the JSON.
    """
    asked = json.loads(line)
    try:
        return 200, answers[asked.pop("do")](asked)
    except Refused as refused:
        return refused.status, {"code": refused.code, "message": refused.message}


def packed(status: int, told: dict[str, Any]) -> bytes:
    """Write an answer."""
    # Names that are no UTF-8 have lone surrogates, which only ASCII can tell.
    body = json.dumps(told, separators=(",", ":")).encode("ascii")
    small = len(body) <= _SMALL
    if not small:
        gzip = zlib.compressobj(_FASTEST, wbits=31)
        body = gzip.compress(body) + gzip.flush()
    return HEADER.pack(len(body), status, not small) + body


def serve(areas: Areas, requests: BinaryIO, answers_to: BinaryIO) -> None:
    """Answer until there are no requests any more; use the time between them to sort."""
    folders = Folders()
    answers: dict[str, Answer] = {
        "list": lambda asked: page(folders, areas, asked),
        "entry": lambda asked: entry(areas, asked),
        "usage": lambda asked: usage(areas, asked),
    }
    # The next request comes after the answer to this one: none waits unseen in a buffer.
    while line := requests.readline():
        answers_to.write(packed(*answered(answers, line)))
        answers_to.flush()
        while not select.select([requests], [], [], 0)[0] and folders.advance():
            pass


def main() -> None:
    """Serve the process that started this one."""
    # What is written by mistake must not be taken for an answer.
    with os.fdopen(os.dup(1), "wb") as answers_to, os.fdopen(0, "rb") as requests:
        os.dup2(2, 1)
        serve(from_environment(os.environ), requests, answers_to)


if __name__ == "__main__":
    main()
