"""A real OpenID provider, and hubs that people sign in to with its accounts."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from canfar_spawner.local import environments
from tests.support.hub import ROOT, Hub, Visitor, free_port, wait_for

CONFIG = ROOT / "tests" / "support" / "oidc_config.py"


@dataclass
class Provider:
    """One provider: its accounts, its process."""

    directory: Path
    callback: str
    """Where it sends people back to; a hub's address of that kind."""
    port: int = field(default_factory=free_port)
    secret: str = field(default_factory=lambda: f"canary-client-{secrets.token_hex(16)}")
    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def issuer(self) -> str:
        """What it calls itself."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environ(self) -> dict[str, str]:
        """What a hub must be told of it."""
        return {
            "CANFAR_OIDC_ISSUER": self.issuer,
            "CANFAR_OIDC_CLIENT_ID": "canfar-hub",
            "CANFAR_OIDC_CLIENT_SECRET": self.secret,
            "CANFAR_OIDC_ALLOW": "everybody",
            "CANFAR_OIDC_ADMINS": "operators",
            "CANFAR_OIDC_TITLE": "the test institute",
            "JUPYTERHUB_CRYPT_KEY": secrets.token_hex(32),
        }

    def account(self, subject: str, **claims: Any) -> None:
        """Make an account, or change one: what is not named stays, ``None`` takes it away."""
        merged = {**self.accounts.get(subject, {}), **claims}
        self.accounts[subject] = {
            claim: value for claim, value in merged.items() if value is not None
        }
        self._write()

    def remove(self, subject: str) -> None:
        """Take an account away."""
        del self.accounts[subject]
        self._write()

    def _write(self) -> None:
        partial = self.directory / "accounts.new"
        partial.write_text(json.dumps(self.accounts))
        partial.replace(self.directory / "accounts.json")

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.directory.mkdir(exist_ok=True)
        self._write()
        script = environments.location("openid") / "provider.mjs"
        command = [environments.node(), str(script), str(self.port)]
        with (self.directory / "provider.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, str(self.directory / "accounts.json"), self.callback],
                env={**os.environ, "OPENID_CLIENT_SECRET": self.secret},
                stdout=log,
                stderr=log,
            )

        def answers() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, (self.directory / "provider.log").read_text()
            with contextlib.suppress(httpx.TransportError):
                address = f"{self.issuer}/.well-known/openid-configuration"
                return httpx.get(address, timeout=5).status_code == 200
            return False

        wait_for(answers, "the provider to answer")

    def end(self) -> None:
        """End it, with all that it knows but the accounts."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=60)


@contextlib.contextmanager
def running_provider(directory: Path, callback: str) -> Iterator[Provider]:
    """Run a provider for the length of a block."""
    provider = Provider(directory, callback)
    try:
        provider.start()
        yield provider
    finally:
        provider.end()


def through_provider(hub: Hub, client: httpx.Client, subject: str) -> httpx.Response:
    """Sign in at the provider as a person does, and give the page that comes of it."""
    page = client.get(f"{hub.public}/hub/oauth_login", params={"next": "/hub/home"})
    if page.url.path.startswith("/interaction/"):
        return client.post(page.url, data={"account": subject})
    return page


class SignIn(Hub):
    """A hub whose accounts are a provider's; names are subjects there."""

    def sign_in(self, name: str) -> Visitor:
        """Sign in by way of the provider."""
        client = httpx.Client(base_url=self.public, follow_redirects=True, timeout=60)
        answer = through_provider(self, client, name)
        assert answer.status_code == 200, answer.text
        assert answer.url.path == "/hub/home", answer.url
        return Visitor(self, name, client)


class OpenIdHub(SignIn):
    """Such a hub on one machine."""


@contextlib.contextmanager
def running_openid_hub(data: Path, **environ: str) -> Iterator[tuple[OpenIdHub, Provider]]:
    """Run a hub of one machine and its provider for the length of a block."""
    hub = OpenIdHub(data)
    hub.environ = {
        "CANFAR_HUB_CONFIG": str(CONFIG),
        "CANFAR_HUB_CATALOGUE": str(ROOT / "hub_config" / "catalogue.yaml"),
        **environ,
    }
    with with_provider(hub) as provider:
        yield hub, provider


@contextlib.contextmanager
def with_provider(hub: SignIn) -> Iterator[Provider]:
    """Run a hub with a provider of its own for the length of a block."""
    directory = hub.data.parent / "provider"
    with running_provider(directory, f"{hub.public}/hub/oauth_callback") as provider:
        provider.account("admin", preferred_username="admin", uid=21003, gid=21003)
        provider.account("admin", groups=["operators"])
        users = {"CANFAR_HUB_USERS": str(ROOT / "hub_config" / "users.yaml")}
        hub.environ = {**users, **provider.environ, **hub.environ}
        try:
            hub.start()
            yield provider
        finally:
            hub.clear()
