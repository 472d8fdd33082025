"""The stand-in's server: ``python3 -m tests.support.carta_standin.server``, with carta_backend's options.

Beside the page and the protocol it keeps what the page stores, preferences and the like, in memory.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import mimetypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.carta_standin import web
from tests.support.carta_standin.options import TABLE, BadOptionError, Options, parse
from tests.support.carta_standin.session import Folders, Session

_FRONTEND = Path("..") / "share" / "carta" / "frontend"
"""Where the real program looks for the page, beside itself."""
_STORED = {"layout": "layouts", "snippet": "snippets", "workspace": "workspaces"}
_DATABASE = "/api/database/"
_SCRIPTS = "/api/scripting/action"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Server:
    """Everything behind one port.

    Parameters
    ----------
    options : Options
    token : str
    program : Path
        Where the program that was started is.
    """

    def __init__(self, options: Options, token: str, program: Path) -> None:
        default = str(program.parent / _FRONTEND)
        self._frontend = Path(options.text("frontend_folder", default)).resolve()
        top = Path(options.text("top_level_folder", "/"))
        start = Path(options.positional[0]) if options.positional else Path.cwd()
        self.folders = Folders(top, start)
        self.token = token
        self._scripting = "enable_scripting" in options
        self._sessions: dict[int, Session] = {}
        self._numbers: Iterator[int] = itertools.count(1)
        self._scripts: Iterator[int] = itertools.count(1)
        self._preferences: dict[str, Any] = {"version": 2}
        self._objects: dict[str, dict[str, Any]] = {kind: {} for kind in _STORED}

    def allows(self, request: web.Request) -> bool:
        """Say whether a request shows the token, as the real program looks for it."""
        cookies = request.headers.get("cookie", "").split(";")
        shown = {
            request.headers.get("authorization", "").removeprefix("Bearer "),
            request.headers.get("carta-auth-token", ""),
            *request.query.get("token", ()),
            *(cookie.strip().removeprefix("carta-auth-token=") for cookie in cookies),
        }
        return self.token in shown

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while (request := await web.read_request(reader)) is not None:
                if request.headers.get("upgrade", "").lower() == "websocket":
                    await self._socket(request, reader, writer)
                    return
                writer.write(await self.answer(request))
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _socket(
        self, request: web.Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if not self.allows(request):
            writer.write(web.response(403))
            return
        writer.write(web.upgrade(request))
        socket = web.WebSocket(reader, writer)
        session = Session(next(self._numbers), self.folders, socket.send)
        self._sessions[session.number] = session
        try:
            while (message := await socket.receive()) is not None:
                if message == "PING":
                    await socket.say("PONG")
                elif isinstance(message, bytes):
                    await session.answer(message)
        finally:
            del self._sessions[session.number]

    async def answer(self, request: web.Request) -> bytes:
        """Answer a request that is no WebSocket's."""
        if request.path.startswith("/api/") and not self.allows(request):
            return web.response(403)
        if request.path == _SCRIPTS and request.method == "POST":
            return await self._script(request)
        if request.path.startswith(_DATABASE):
            return self._database(request)
        if request.path == "/config":
            return self._json({"apiAddress": "/api"})
        return self._file(request)

    @staticmethod
    def _json(content: dict[str, Any]) -> bytes:
        return web.response(200, json.dumps(content).encode(), "application/json")

    def _file(self, request: web.Request) -> bytes:
        path = (self._frontend / (request.path.strip("/") or "index.html")).resolve()
        if not path.is_relative_to(self._frontend) or not path.is_file():
            return web.response(404)
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return web.response(200, path.read_bytes(), kind, head=request.method == "HEAD")

    def _database(self, request: web.Request) -> bytes:
        """Keep what the page stores, and give it back."""
        about = request.path.removeprefix(_DATABASE)
        asked = json.loads(request.body) if request.body else {}
        if about == "preferences":
            if request.method == "PUT":
                self._preferences |= asked
            elif request.method == "DELETE":
                for key in asked.get("keys", ()):
                    self._preferences.pop(key, None)
            return self._json({"success": True, "preferences": self._preferences})
        for kind, many in _STORED.items():
            if about in (many, f"list/{many}"):
                return self._json({"success": True, many: self._objects[kind]})
            if about == kind:
                name = asked.get(f"{kind}Name", "")
                if request.method == "PUT":
                    self._objects[kind][name] = asked[kind]
                else:
                    self._objects[kind].pop(name, None)
                return self._json({"success": True})
        return web.response(404)

    async def _script(self, request: web.Request) -> bytes:
        """Pass a script's action on to the page that it is for."""
        if not self._scripting:
            return web.response(501)
        try:
            asked = json.loads(request.body)
            session = self._sessions.get(asked["session_id"])
            if session is None:
                return web.response(404)
            answered = await session.script(next(self._scripts), asked)
        except (ValueError, KeyError, TypeError):
            return web.response(400)
        except TimeoutError:
            return web.response(500)
        found: dict[str, Any] = {"success": answered["success"]}
        if answered["message"]:
            found["message"] = answered["message"]
        if answered["response"]:
            found["response"] = json.loads(answered["response"])
        return self._json(found)


async def _run(options: Options, server: Server) -> None:
    host, port = options.text("host", "0.0.0.0"), options.number("port", 3002)  # noqa: S104
    async with await asyncio.start_server(server.serve, host, port) as listening:
        if options.number("verbosity", 4) >= TABLE["token_written_from_verbosity"]:
            _say(f"CARTA is accessible at http://{host}:{port}/?token={server.token}")
        await listening.serve_forever()


def main(argv: list[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    words = sys.argv if argv is None else argv
    try:
        options = parse(words[1:])
    except BadOptionError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    token = os.environ.get("CARTA_AUTH_TOKEN", "")
    if not token:
        sys.stderr.write("The stand-in is always told its token.\n")
        return 1
    server = Server(options, token, Path(words[0]).resolve())
    top, start = server.folders.top.resolve(), server.folders.start.resolve()
    if not start.is_relative_to(top):
        sys.stderr.write(f"Starting folder ({start}) must be within top level folder ({top}).\n")
        return 1
    _say(f"stand-in for carta_backend, {os.getpid()}")
    asyncio.run(_run(options, server))
    return 0


if __name__ == "__main__":
    sys.exit(main())
