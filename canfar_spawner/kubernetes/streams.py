"""Answers of the API server that come line by line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Final

import aiohttp

_LONGEST_LINE: Final = 16_000_000


async def lines_of(response: aiohttp.ClientResponse, end: float) -> AsyncIterator[bytes]:
    """Give the lines of a stream as they come; an unfinished last one is an error."""
    rest = b""
    while True:
        async with asyncio.timeout(end - time.monotonic()):
            chunk = await response.content.readany()
        if not chunk:
            break
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
        if len(rest) > _LONGEST_LINE:
            raise ValueError("a line without end")
    if rest.strip():
        raise ValueError("a line that was cut off")
