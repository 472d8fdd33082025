# ruff: noqa: INP001, S101, S607 - a program that is run inside the image
"""The image of the gateway does its work: who is let in reaches the application, nobody else does.

Hub and application are a few lines here. Run inside, as any uid and without a network:
``python3 smoke.py``.
"""

import contextlib
import http.client
import http.server
import importlib.util
import json
import os
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
from pathlib import Path

_SECONDS = 60
_PREFIX = "/user/ada/smoketst/"
_SCOPE = "access:servers!server=ada/smoketst"
_TOKEN, _OWN = "ada-may-come", "the-session-itself"
_PORT = 18888


class _Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def say(self, status: int, body: bytes) -> None:
        """Answer."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


class _Hub(_Answers):
    """Knows one token, and takes whatever it is told."""

    def do_GET(self) -> None:
        known = self.headers.get("Authorization") == f"token {_TOKEN}"
        ada = {"kind": "user", "name": "ada", "scopes": [_SCOPE], "session_id": None}
        self.say(200 if known else 403, json.dumps(ada if known else {}).encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.say(200, b"{}")


class _Application(_Answers):
    """Shows what it was asked."""

    def do_GET(self) -> None:
        told = {"path": self.path, "token": _TOKEN in str(self.headers)}
        self.say(200, json.dumps(told).encode())


class _OnSocket(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept, and give an address of the kind that is expected."""
        connection, _ = super().get_request()
        return connection, ("", 0)


def _ask(path: str, token: str = "", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", _PORT, timeout=10)
    given = {"Authorization": f"Bearer {token}"} if token else {}
    with contextlib.closing(connection):
        connection.request("GET", _PREFIX + path, headers=given | headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def _wait(gateway: "subprocess.Popen[bytes]", status: int) -> None:
    deadline = time.monotonic() + _SECONDS
    while True:
        with contextlib.suppress(OSError):
            if _ask("api")[0] == status:
                return
        assert gateway.poll() is None, "the gateway ended"
        assert time.monotonic() < deadline, f"the gateway does not answer {status}"
        time.sleep(0.05)


def _told(application: Path, hub: int) -> dict[str, str]:
    session = {
        "session": "smoketst",
        "owner": "ada",
        "title": "Smoke",
        "kind_title": "Contributed",
        "listening": {"socket": str(application)},
        "keeps_prefix": False,
        "ready_path": "/",
        "start": "/",
        "secret_header": None,
        "transport": "http",
        "pages": "",
        "rewrites": [],
    }
    return {
        "CANFAR_GATEWAY": json.dumps(session),
        "JUPYTERHUB_API_TOKEN": _OWN,
        "JUPYTERHUB_API_URL": f"http://127.0.0.1:{hub}/hub/api",
        "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-ada-smoketst",
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": json.dumps([_SCOPE]),
        "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{_PREFIX}oauth_callback",
        "JUPYTERHUB_SERVICE_PREFIX": _PREFIX,
        "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{_PORT}",
    }


def _look(gateway: "subprocess.Popen[bytes]", application: Path) -> None:
    _wait(gateway, 503)
    with _OnSocket(str(application), _Application) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        _wait(gateway, 401)
        status, body = _ask("deep/page?x=1", _TOKEN)
        assert status == 200, body
        assert json.loads(body) == {"path": "/deep/page?x=1", "token": False}, body
        for token, headers, wanted in (
            ("", {}, 401),
            ("somebody-elses", {}, 401),
            ("", {"Accept": "text/html"}, 302),
            (_TOKEN, {"Origin": "http://evil.example.org"}, 403),
        ):
            status, body = _ask("deep/page", token, **headers)
            assert status == wanted, (token, headers, status)
            assert "deep" not in body
        server.shutdown()


def main() -> None:
    """Serve, let in and turn away."""
    # Nothing here launches sessions.
    assert importlib.util.find_spec("canfar_spawner.kubernetes") is None
    with tempfile.TemporaryDirectory() as place:
        application = Path(place) / "app.sock"
        hub = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        told = _told(application, hub.server_port)
        gateway = subprocess.Popen(["canfar-gateway"], env=os.environ | told)
        try:
            _look(gateway, application)
        finally:
            gateway.terminate()
            assert gateway.wait(_SECONDS) == 0
            hub.shutdown()


if __name__ == "__main__":
    main()
