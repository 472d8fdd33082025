"""The few requests to the API server that the start of the cluster makes, without kubectl.

Standard library only, and quicker than a process for each look.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

_TIMEOUT = 5.0


class Api:
    """The API server as a kubeconfig's user."""

    def __init__(self, kubeconfig: Path) -> None:
        text = kubeconfig.read_text()

        def field(name: str) -> str:
            found = re.search(rf"{name}: (\S+)", text)
            if found is None:
                raise ValueError(f"{kubeconfig} has no {name}")
            return found[1]

        def decoded(name: str) -> str:
            return base64.b64decode(field(name)).decode()

        self._server = field("server")
        identity = kubeconfig.with_suffix(".pem")
        identity.touch(mode=0o600)
        identity.write_text(decoded("client-certificate-data") + decoded("client-key-data"))
        context = ssl.create_default_context(cadata=decoded("certificate-authority-data"))
        context.load_cert_chain(identity)
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Send one request; gives status 0 where nobody answers."""
        asked = urllib.request.Request(  # noqa: S310 - https, by kubeadm's kubeconfig
            self._server + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
        )
        try:
            with self._opener.open(asked, timeout=_TIMEOUT) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")
        except OSError as error:
            return 0, str(error)

    def get(self, path: str) -> Any:
        """Give an object, or nothing where it cannot be had now."""
        status, text = self.request("GET", path)
        return json.loads(text) if status == 200 else None
