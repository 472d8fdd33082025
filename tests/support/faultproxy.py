"""A proxy between a client and the API server that fails as it is told, reproducibly.

Clients speak plain HTTP to it; it speaks TLS to the server, with the client's own token, else as
what the kubeconfig of the server says. It runs in a thread, so that a hub in another process can be
pointed at it while a test tells it what to do.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp
from aiohttp import web
from kubernetes_asyncio.client import Configuration
from kubernetes_asyncio.config import load_kube_config
from yarl import URL

from tests.support.apiserver import free_ports, write_kubeconfig

log = logging.getLogger(__name__)

Action = Literal["status", "delay", "hang", "reset", "drop", "swallow", "edit"]
Edit = Literal[
    "cut", "truncate", "duplicate", "swap", "stall", "gone", "bookmark", "garbage", "break"
]
Partition = Literal["", "refuse", "reset", "hang"]
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_HOP = {"connection", "host", "keep-alive", "transfer-encoding", "upgrade", "content-length"}


@dataclass
class Fault:
    """One thing that goes wrong.

    Parameters
    ----------
    action : str
        ``status`` answers itself; ``delay`` waits first; ``hang`` never answers; ``reset`` breaks
        the connection; ``drop`` lets the server carry the request out and breaks the connection
        then; ``swallow`` lets it be carried out and never answers; ``edit`` changes a watch.
    verb : str
        ``get``, ``list``, ``watch``, ``create``, ``update``, ``patch`` or ``delete``; empty for all.
    path : str
        A regular expression for the path and query.
    nth : int
        The first of those requests that it hits, counted from 1.
    times : int, optional
        How many it hits; left out, all from there on.
    rate : float
        The share of them that it hits.
    status : int
    retry_after : float, optional
    seconds : float
        Of a delay.
    edit : str
        ``cut`` ends the stream; ``truncate`` ends it within a line; ``duplicate`` and ``swap`` send
        lines twice or in the wrong order; ``stall`` sends nothing more; ``gone`` is the server's
        own error 410; ``bookmark`` puts bookmarks between, ``garbage`` a line that is not
        JSON; ``break`` breaks the connection.
    after : int
        Lines of the watch that pass unchanged.
    """

    action: Action
    verb: str = ""
    path: str = ""
    nth: int = 1
    times: int | None = None
    rate: float = 1.0
    status: int = 500
    retry_after: float | None = None
    seconds: float = 0.0
    edit: Edit = "cut"
    after: int = 0
    matched: int = field(default=0, init=False)
    hits: int = field(default=0, init=False)

    def strikes(self, verb: str, path: str, chance: random.Random) -> bool:
        """Count a request; says whether it is hit."""
        if (self.verb and self.verb != verb) or not re.search(self.path, path):
            return False
        self.matched += 1
        if self.matched < self.nth or (self.times is not None and self.hits >= self.times):
            return False
        if chance.random() >= self.rate:
            return False
        self.hits += 1
        return True


@dataclass(frozen=True)
class Seen:
    """A request that came, and when."""

    verb: str
    path: str
    at: float
    agent: str


class FaultProxy:
    """The proxy; a context manager.

    Parameters
    ----------
    upstream : Path
        A kubeconfig of the server.
    seed : int, optional
        Of everything that is left to chance; chosen and logged where it is left out.
    host : str, optional
        The address to listen on.
    """

    def __init__(self, upstream: Path, *, seed: int | None = None, host: str = "127.0.0.1") -> None:
        self.seed = random.SystemRandom().randrange(2**32) if seed is None else seed
        self._chance = random.Random(self.seed)  # noqa: S311 - to be repeated, not to be secret
        self._upstream = upstream
        self._host = host
        (self._port,) = free_ports(1)
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._requests: list[Seen] = []
        self._partition: Partition = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._site: web.TCPSite | None = None

    def __enter__(self) -> Self:
        log.warning("fault proxy on port %d, seed %d", self._port, self.seed)
        self._thread.start()
        self._do(self._begin())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self._port}"

    @property
    def requests(self) -> list[Seen]:
        """Every request so far, in the order in which they came."""
        with self._lock:
            return list(self._requests)

    def kubeconfig(self, path: Path, *, token: str = "") -> Path:
        """Write a kubeconfig that points here.

        Parameters
        ----------
        path : Path
        token : str, optional
            Whom the client is to be for the server; left out, the proxy's own right.
        """
        return write_kubeconfig(path, self.url, token=token)

    def add(self, fault: Fault) -> Fault:
        """Let something go wrong from now on."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Let nothing go wrong any more; what hangs already goes on hanging."""
        with self._lock:
            self._faults.clear()

    def partition(self, how: Partition = "refuse") -> None:
        """Cut clients off, those that are connected too, until ``heal``.

        Parameters
        ----------
        how : str
            ``refuse`` new connections, ``reset`` each request, or let everything ``hang``.
        """
        self._do(self._cut_off(how))

    def heal(self) -> None:
        """End a partition; what hung in it is broken off."""
        self._do(self._join())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    async def _begin(self) -> None:
        config = Configuration()
        await load_kube_config(
            str(self._upstream), client_configuration=config, persist_config=False
        )
        self._server = str(config.host)
        self._token = config.api_key.get("BearerToken", "")
        # The server believes a certificate more than a token: those with one go without.
        self._plain = ssl.create_default_context(cafile=config.ssl_ca_cert)
        self._own = ssl.create_default_context(cafile=config.ssl_ca_cert)
        if config.cert_file:
            self._own.load_cert_chain(config.cert_file, config.key_file)
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            auto_decompress=False,
            read_bufsize=2**21,
            timeout=aiohttp.ClientTimeout(sock_connect=5),
        )
        self._joined, self._never = asyncio.Event(), asyncio.Event()
        self._served = web.Server(self._handle, access_log=None, handler_cancellation=True)
        self._runner = web.ServerRunner(self._served, shutdown_timeout=0.1)
        await self._runner.setup()
        await self._listen()

    async def _end(self) -> None:
        self._break_all()
        await self._runner.cleanup()
        await self._client.close()

    async def _listen(self) -> None:
        self._site = web.TCPSite(self._runner, self._host, self._port, reuse_address=True)
        await self._site.start()

    async def _cut_off(self, how: Partition) -> None:
        self._partition = how
        self._joined.clear()
        if how == "refuse" and self._site is not None:
            await self._site.stop()
            self._site = None
        if how in ("refuse", "reset"):
            self._break_all()

    async def _join(self) -> None:
        self._partition = ""
        self._joined.set()
        if self._site is None:
            await self._listen()

    def _break_all(self) -> None:
        for connection in list(self._served.connections):
            _break(connection.transport)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        verb, path = verb_of(request), request.raw_path
        with self._lock:
            seen = Seen(verb, path, time.monotonic(), request.headers.get("User-Agent", ""))
            self._requests.append(seen)
            # Each counts every request that concerns it, whether or not another has hit it too.
            faults = [each for each in self._faults if each.strikes(verb, path, self._chance)]
        if faults:
            log.info("%s %s: %s", verb, path, ", ".join(each.action for each in faults))
        if self._partition == "hang":
            await self._joined.wait()
            return _broken(request)
        if self._partition:
            return _broken(request)
        for fault in faults:
            if fault.action == "delay":
                await asyncio.sleep(fault.seconds)
            elif fault.action == "status":
                return _refusal(fault)
            elif fault.action == "reset":
                return _broken(request)
            elif fault.action == "hang":
                await self._never.wait()
        try:
            return await self._forward(request, verb, faults)
        except (aiohttp.ClientError, OSError) as error:
            log.warning("%s %s: the server does not answer: %r", verb, path, error)
            return _broken(request)

    async def _forward(
        self, request: web.BaseRequest, verb: str, faults: list[Fault]
    ) -> web.StreamResponse:
        headers = {
            name: value for name, value in request.headers.items() if name.lower() not in _HOP
        }
        own = "Authorization" not in headers
        if own and self._token:
            headers["Authorization"] = self._token
        async with self._client.request(
            request.method,
            URL(self._server + request.raw_path, encoded=True),
            headers=headers,
            data=await request.read() or None,
            ssl=self._own if own else self._plain,
        ) as answer:
            kept = {
                name: value for name, value in answer.headers.items() if name.lower() not in _HOP
            }
            if any(each.action == "drop" for each in faults):
                await answer.read()
                return _broken(request)
            if any(each.action == "swallow" for each in faults):
                await self._never.wait()
            if verb != "watch" or answer.status != 200:
                return web.Response(status=answer.status, headers=kept, body=await answer.read())
            response = web.StreamResponse(status=200, headers=kept)
            await response.prepare(request)
            lines: AsyncIterator[bytes] = _lines(answer)
            for fault in faults:
                if fault.action == "edit":
                    lines = edited(lines, fault)
            async for line in lines:
                if self._partition == "hang":
                    await self._joined.wait()
                    return _broken(request)
                if line == BREAK:
                    return _broken(request)
                await response.write(line)
            await response.write_eof()
            return response


BREAK = b"\0"
"""In the place of a line: the connection is broken off."""


def verb_of(request: web.BaseRequest) -> str:
    """Give the word that Kubernetes has for a request."""
    if request.method != "GET":
        return _VERBS.get(request.method, request.method.lower())
    if request.query.get("watch") in ("true", "1"):
        return "watch"
    match request.path.strip("/").split("/"):
        case ["api", _, *parts] | ["apis", _, _, *parts]:
            if parts[:1] == ["namespaces"] and len(parts) > 2:
                parts = parts[2:]
            return "get" if len(parts) > 1 else "list"
        case _:
            return "get"


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in answer.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"
    if rest:
        yield rest


async def edited(lines: AsyncIterator[bytes], fault: Fault) -> AsyncIterator[bytes]:
    """Give the lines of a watch as a fault makes them."""
    passed = 0
    if fault.after == 0 and fault.edit in _ENDINGS:
        yield _ENDINGS[fault.edit]
        return
    async for line in lines:
        passed += 1
        if passed > fault.after:
            break
        yield line
        if passed == fault.after and fault.edit in _ENDINGS:
            yield _ENDINGS[fault.edit]
            return
    else:
        return
    if fault.edit == "truncate":
        yield line[: len(line) // 2]
        return
    while line:
        if fault.edit == "stall":
            await asyncio.Event().wait()
        if fault.edit == "swap":
            yield await anext(lines, b"") + line
        else:
            yield _changed(line, fault.edit)
        line = await anext(lines, b"")


def _changed(line: bytes, edit: Edit) -> bytes:
    if edit == "duplicate":
        return line + line
    return line + _bookmark(line) if edit == "bookmark" else b"{]\n" + line


def _bookmark(line: bytes) -> bytes:
    thing = json.loads(line)["object"]
    kept = {key: thing[key] for key in ("kind", "apiVersion") if key in thing}
    kept["metadata"] = {"resourceVersion": thing["metadata"]["resourceVersion"]}
    return json.dumps({"type": "BOOKMARK", "object": kept}).encode() + b"\n"


def _status(code: int, reason: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "this is what the test wants",
        "reason": reason,
        "code": code,
    }


_GONE = json.dumps({"type": "ERROR", "object": _status(410, "Expired")}).encode() + b"\n"
_ENDINGS = {"gone": _GONE, "cut": b"", "break": BREAK}
_REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def _refusal(fault: Fault) -> web.Response:
    headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
    content = _status(fault.status, _REASONS.get(fault.status, ""))
    return web.json_response(content, status=fault.status, headers=headers)


def _break(transport: asyncio.BaseTransport | None) -> None:
    """End a connection the hard way, with RST."""
    if isinstance(transport, asyncio.Transport):
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


def _broken(request: web.BaseRequest) -> web.Response:
    _break(request.transport)
    # Nobody gets it.
    return web.Response(status=503)
