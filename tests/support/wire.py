"""HTTP and WebSockets as bytes on a connection: what well-behaved clients do not let a test send."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

DEADLINE = 30.0
_PIECE = 1 << 16


@dataclass
class Answer:
    """What came back, as far as it came."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    complete: bool = True
    """Whether the body came to the end that was announced."""

    def get(self, name: str) -> str:
        """Give the first header of a name."""
        return next((value for each, value in self.headers if each.lower() == name.lower()), "")

    def all(self, name: str) -> list[str]:
        """Give every header of a name."""
        return [value for each, value in self.headers if each.lower() == name.lower()]


class Wire:
    """One connection to this machine, with a deadline for everything.

    Parameters
    ----------
    port : int
    host : str
        The name that requests are for, with port.
    """

    def __init__(self, port: int, host: str = "", *, receive: int = 0) -> None:
        self.host = host or f"127.0.0.1:{port}"
        self.socket = socket.socket()
        if receive:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(("127.0.0.1", port))
        self.pending = b""

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | list[tuple[str, str]] = (),  # type: ignore[assignment]
        body: bytes | None = None,
    ) -> None:
        """Send a request; a length is given where a body is, unless headers say it."""
        pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        names = {name.lower() for name, _ in pairs}
        if "host" not in names:
            pairs.insert(0, ("Host", self.host))
        if body is not None and not names & {"content-length", "transfer-encoding"}:
            pairs.append(("Content-Length", str(len(body))))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in pairs)]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))

    def read(self) -> bytes:
        """Give what has come, empty at the end."""
        if self.pending:
            found, self.pending = self.pending, b""
            return found
        return self.socket.recv(_PIECE)

    def _until(self, mark: bytes) -> bytes:
        while mark not in self.pending:
            piece = self.socket.recv(_PIECE)
            if not piece:
                raise ConnectionResetError("hung up")
            self.pending += piece
        found, _, self.pending = self.pending.partition(mark)
        return found

    def _some(self, most: int) -> bytes:
        piece = self.read()
        if not piece:
            raise ConnectionResetError("hung up")
        self.pending = piece[most:]
        return piece[:most]

    def exactly(self, size: int) -> bytes:
        """Give so many bytes."""
        while len(self.pending) < size:
            piece = self.socket.recv(_PIECE)
            if not piece:
                raise ConnectionResetError("hung up")
            self.pending += piece
        found, self.pending = self.pending[:size], self.pending[size:]
        return found

    def head(self) -> Answer:
        """Read an answer as far as its headers."""
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        pairs = [line.partition(":") for line in lines[1:]]
        return Answer(
            int(lines[0].split(" ")[1]), [(name, value.strip()) for name, _, value in pairs]
        )

    def answer(self, *, bodiless: bool = False) -> Answer:
        """Read an answer to its end, or to where the other side hangs up."""
        found = self.head()
        if bodiless or found.status in (101, 204, 304):
            return found
        pieces = []
        try:
            if "chunked" in found.get("Transfer-Encoding"):
                while size := int(self._until(b"\r\n").partition(b";")[0], 16):
                    pieces.append(self.exactly(size))
                    self._until(b"\r\n")
                while self._until(b"\r\n"):
                    pass
            elif found.get("Content-Length"):
                left = int(found.get("Content-Length"))
                while left:
                    pieces.append(self._some(left))
                    left -= len(pieces[-1])
            else:
                while piece := self.read():
                    pieces.append(piece)
        except (ConnectionResetError, ValueError):
            found.complete = False
        found.body = b"".join(pieces)
        return found

    # WebSockets.

    def upgrade(
        self,
        path: str,
        headers: Mapping[str, str] | list[tuple[str, str]] = (),  # type: ignore[assignment]
    ) -> Answer:
        """Ask for a WebSocket; gives the answer, whole where it is a refusal."""
        pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        key = base64.b64encode(os.urandom(16)).decode()
        self.ask(
            "GET",
            path,
            [
                ("Host", self.host),
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Key", key),
                ("Sec-WebSocket-Version", "13"),
                *pairs,
            ],
        )
        return self.answer()

    def say(self, data: bytes, *, opcode: int = 1) -> None:
        """Send one frame, masked as a client's must be; with zeros, so that bytes stay."""
        size = len(data)
        if size < 126:
            head = bytes((0x80 | opcode, 0x80 | size))
        elif size < 1 << 16:
            head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
        else:
            head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big")
        self.send(head + bytes(4) + data)

    def hear(self) -> tuple[int, bytes]:
        """Read one frame: its kind and what it says."""
        first, size = self.exactly(2)
        size &= 0x7F
        if size >= 126:
            size = int.from_bytes(self.exactly(2 if size == 126 else 8), "big")
        return first & 0x0F, self.exactly(size)

    def closed(self) -> bool:
        """Read until the other side hangs up, for as long as the deadline."""
        with contextlib.suppress(ConnectionResetError):
            while self.read():
                pass
        return True


@contextlib.contextmanager
def wire(port: int, host: str = "", *, receive: int = 0) -> Iterator[Wire]:
    """Open a connection for the length of a block."""
    opened = Wire(port, host, receive=receive)
    try:
        yield opened
    finally:
        opened.close()


_VARYING = re.compile(r"(state|_xsrf|code_challenge)=[^;&]*|nonce[-=][^;> ]*")


def told(answer: Answer) -> tuple[int, list[tuple[str, str]], bytes]:
    """Give an answer without what differs from one to the next whoever is asked: dates, states."""
    headers = [
        (name.lower(), _VARYING.sub("", value))
        for name, value in answer.headers
        if name.lower() not in ("date", "set-cookie", "etag")
    ]
    return answer.status, headers, _VARYING.sub("", answer.body.decode()).encode()
