# ruff: noqa: INP001, S101, S607 - a program that is run inside the image
"""The image of the hub does its work: it checks a site's files, and a hub with its pages is served.

Run inside, as any uid: ``python3 smoke.py``.
"""

import http.server
import importlib
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

_SECONDS = 60
_CATALOGUE = """
version: 1
branding: {name: Smoke}
catalogue:
  registry: registry.example.org
  containers:
    - name: notebook
      title: Notebook
      description: JupyterLab.
      icon: notebook
      kinds: [notebook]
      image: canfar-hub/notebook
      versions: [{name: "26.11", recommended: true}]
"""
_HUB = """
from tornado.httpclient import AsyncHTTPClient

# As Zero to JupyterHub does.
AsyncHTTPClient.configure("tornado.curl_httpclient.CurlAsyncHTTPClient")
c.JupyterHub.bind_url = "http://127.0.0.1:18000"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:18081"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.auth_token = "none"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:18001"
"""


class _Proxy(http.server.BaseHTTPRequestHandler):
    """Takes every route and keeps none, which is all that a starting hub asks of a proxy."""

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - as its base class calls them

    def log_message(self, *_: object) -> None:
        """Write nothing."""


def _serve(place: Path) -> None:
    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 18001), _Proxy)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    (place / "hub.py").write_text(_HUB)
    hub = subprocess.Popen(["jupyterhub", "--config", str(place / "hub.py")], cwd=place)
    try:
        deadline = time.monotonic() + _SECONDS
        for path in ("health", "static/canfar/portal.js", "login"):
            while True:
                try:
                    address = f"http://127.0.0.1:18081/hub/{path}"
                    with urllib.request.urlopen(address, timeout=10) as answer:
                        assert answer.status == 200, path
                    break
                except urllib.error.HTTPError:
                    raise
                except OSError:
                    assert hub.poll() is None, "the hub ended"
                    assert time.monotonic() < deadline, "the hub does not answer"
                    time.sleep(0.1)
    finally:
        hub.terminate()
        hub.wait()


def main() -> None:
    """Import, check and serve."""
    for name in ("kubespawner", "kubernetes_asyncio", "oauthenticator", "psycopg2", "pycurl"):
        importlib.import_module(name)
    for group in ("jupyterhub.spawners", "canfar_spawner.backends"):
        for point in importlib.metadata.entry_points(group=group):
            if point.value.startswith("canfar_spawner."):
                point.load()
    program = [sys.executable, "-m", "canfar_spawner.kubernetes.arc", "--help"]
    subprocess.run(program, check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as home:
        place = Path(home)
        os.environ["HOME"] = home
        (place / "catalogue.yaml").write_text(_CATALOGUE)
        (place / "users.yaml").write_text("users: {ada: {uid: 20001}}\n")
        files = ["--catalogue", "catalogue.yaml", "--users", "users.yaml"]
        subprocess.run(["canfar-hub", "check", *files], cwd=home, check=True)
        _serve(place)


if __name__ == "__main__":
    main()
