"""Carries connections between a TCP port and a unix socket, out of the cluster's network.

``python3 -m tests.support.cluster.relay tcp:127.0.0.1:8000 unix:/path`` listens at the first and
connects to the second. Standard library only.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

_CHUNK = 65536


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def _connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    kind, _, where = address.partition(":")
    if kind == "unix":
        return await asyncio.open_unix_connection(where)
    host, _, port = where.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def _serve(listen: str, to: str) -> None:
    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await _connect(to)
        except OSError:
            writer.close()
            return
        try:
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        finally:
            for each in (writer, far_writer):
                each.close()

    kind, _, where = listen.partition(":")
    if kind == "unix":
        server = await asyncio.start_unix_server(carry, where)
    else:
        host, _, port = where.rpartition(":")
        server = await asyncio.start_server(carry, host, int(port))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1].partition(":")[0] == "unix":
        Path(sys.argv[1].partition(":")[2]).unlink(missing_ok=True)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(sys.argv[1], sys.argv[2]))
