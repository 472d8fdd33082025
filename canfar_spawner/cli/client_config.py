"""``canfar-hub client-config``: a token for the public client, and the texts that set it up."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TextIO
from urllib.parse import quote, urlsplit

from jupyterhub.utils import subdomain_hook_idna

from canfar_spawner.core.client_setup import (
    CONFIG_PATH,
    DAYS,
    MOST_DAYS,
    ClientSetup,
    client_scopes,
    client_setup,
)
from canfar_spawner.core.errors import shown
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.hub.service import SERVICE
from canfar_spawner.local.settings import LocalSettings
from canfar_spawner.local.where import catalogue_file
from canfar_spawner.portal.client import batch_image
from canfar_spawner.site.files import SettingError, SiteFileError, load

TOKEN: Final = "JUPYTERHUB_API_TOKEN"  # noqa: S105 - the name of a variable
_WITHIN: Final = 30
_NOTE: Final = "canfar-hub client-config"


class ClientConfigError(Exception):
    """No token could be made, or nothing written; says why in a sentence."""


@dataclass(frozen=True, slots=True)
class Hub:
    """Where a hub is, and how its answers are asked for."""

    url: str
    """Without a slash at the end."""
    service_url: str
    """The session manager, as scripts reach it."""

    def ask(self, method: str, path: str, body: object = None, *, token: str = "") -> Any:
        """Call the hub's API.

        Raises
        ------
        ClientConfigError
            It refused, or nobody answers.
        """
        request = urllib.request.Request(  # noqa: S310 - `hub_at` has seen to the scheme
            f"{self.url}/hub/api{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        if token:
            # Not among the headers that would go along with a redirect.
            request.add_unredirected_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=_WITHIN) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise ClientConfigError(_refusal(error)) from None
        except http.client.HTTPException:
            # Its words are those of whatever listens there.
            raise ClientConfigError(f"What answers at {self.url} is not a hub.") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise ClientConfigError(f"No hub answers at {self.url}: {reason}.") from None


def _refusal(error: urllib.error.HTTPError) -> str:
    said = ""
    with contextlib.suppress(ValueError, AttributeError, OSError):
        said = str(json.load(error).get("message", ""))
    if error.code in (401, 403):
        return (
            "The hub refused: the token or the password is not right, or may not make tokens for"
            " this user."
        )
    return f"The hub answered {error.code}{': ' + shown(said, limit=200) if said else ''}."


def hub_at(url: str) -> Hub:
    """Take the address of a hub from the command line; raises ClientConfigError."""
    if "@" in url:
        raise ClientConfigError(
            "The address of a hub has no name and no password in it; give one such as"
            " https://hub.example.org."
        )
    try:
        parts = urlsplit(url)
        right = parts.port != 0 and bool(parts.hostname)
    except ValueError:
        right, parts = False, urlsplit("")
    plain = url.isprintable() and not set(url) & set(" ?#\\")
    if not (right and plain and parts.scheme in ("http", "https")):
        # What follows may be secret.
        told = shown(url.partition("?")[0].partition("#")[0])
        raise ClientConfigError(
            f"{told} is not the address of a hub; give one such as https://hub.example.org."
        )
    base = url.rstrip("/").removesuffix("/hub")
    return Hub(base, f"{base}/services/{SERVICE}")


def hub_here(settings: LocalSettings) -> Hub:
    """Give the hub of this machine."""
    url = f"http://127.0.0.1:{settings.port}"
    host = settings.host
    if settings.own_origins():
        host = subdomain_hook_idna(SERVICE, settings.host, kind="service")
    return Hub(url, f"http://{host}:{settings.port}/services/{SERVICE}")


@dataclass(frozen=True, slots=True)
class Credential:
    """What the token is asked for with."""

    token: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


def given_token(environ: Mapping[str, str]) -> str:
    """Give the token of the environment, empty where there is none.

    Raises
    ------
    ClientConfigError
        It cannot be one; never shows it.
    """
    return _token(environ.get(TOKEN, ""), TOKEN)


def _token(text: str, where: str) -> str:
    token = text.strip()
    # It is to be a header, and what refuses it there would show it.
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ClientConfigError(f"What is in {where} is not a token.")
    return token


def _line_of(stdin: TextIO | None) -> str:
    """Read what is given on standard input; there is none where it is closed, or a terminal."""
    try:
        return "" if stdin is None or stdin.isatty() else stdin.readline()
    except (OSError, ValueError):
        raise ClientConfigError("Standard input cannot be read.") from None


def credential(environ: Mapping[str, str], stdin: TextIO | None, *, here: bool) -> Credential:
    """Find a token in the environment or on standard input, or the demo accounts' password.

    Never in the arguments, which every user of a machine can read.

    Raises
    ------
    ClientConfigError
        There is neither, or what there is cannot be one.
    """
    given = given_token(environ) or _token(_line_of(stdin), "standard input")
    if given:
        return Credential(token=given)
    if here:
        path = LocalSettings.read(environ).hub / "password"
        with contextlib.suppress(OSError, ValueError):
            given = path.read_text().strip()
        if given:
            return Credential(password=given)
    raise ClientConfigError(
        f"There is nothing to ask the hub with. Put a token of yours into {TOKEN} or on standard"
        " input; the hub's page of access tokens makes one."
    )


@dataclass(frozen=True, slots=True)
class Made:
    """A new token."""

    token: str = field(repr=False)
    user: str
    expires: datetime | None


def make_token(hub: Hub, using: Credential, *, user: str, days: int) -> Made:
    """Make a token with an end and only the scopes of the client.

    Raises
    ------
    ClientConfigError
    """
    if not 1 <= days <= MOST_DAYS:
        raise ClientConfigError(f"A token lasts from 1 to {MOST_DAYS} days; you asked for {days}.")
    body: dict[str, object] = {
        "note": _NOTE,
        "expires_in": int(timedelta(days=days).total_seconds()),
        "scopes": list(client_scopes(SERVICE)),
    }
    if using.password:
        if not user:
            raise ClientConfigError("Say for whom: --user ada.")
        # The login form's own fields, so that the hub's authenticator decides.
        body["auth"] = {"username": user, "password": using.password}
    try:
        if not user:
            user = str(hub.ask("GET", "/user", token=using.token)["name"])
        made = hub.ask("POST", f"/users/{quote(user, safe='')}/tokens", body, token=using.token)
        ends = made.get("expires_at")
        expires = datetime.fromisoformat(ends) if isinstance(ends, str) else None
        return Made(token=str(made["token"]), user=user, expires=expires)
    except (AttributeError, LookupError, TypeError, ValueError):
        raise ClientConfigError(f"What answers at {hub.url} is not a hub.") from None


def _image(hub: Hub, token: str, environ: Mapping[str, str]) -> str:
    """Give an image for a batch job: one the manager offers, else one of this site's file."""
    request = urllib.request.Request(  # noqa: S310 - `hub_at` has seen to the scheme
        f"{hub.service_url}/v1/image?type=headless"
    )
    request.add_unredirected_header("Authorization", f"Bearer {token}")
    with (
        contextlib.suppress(OSError, ValueError, LookupError, TypeError, http.client.HTTPException),
        urllib.request.urlopen(request, timeout=_WITHIN) as answer,  # noqa: S310
    ):
        return str(json.load(answer)[0]["id"])
    try:
        return batch_image(load(catalogue_file(environ), SitePolicy))
    except SiteFileError:
        return "registry.example.org/project/name:tag"


def write(text: str, path: Path) -> Path | None:
    """Write the client's file for its owner alone; gives where an earlier one was put.

    Raises
    ------
    ClientConfigError
    """
    kept = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.new")
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        if path.exists():
            kept = next(
                each
                for number in range(1000)
                if not (each := path.with_name(f"{path.name}.bak{number or ''}")).exists()
            )
            path.rename(kept)
        new.replace(path)
    except OSError as error:
        raise ClientConfigError(f"{path} cannot be written: {error.strerror}.") from None
    return kept


def _block(title: str, text: str) -> str:
    lines = "\n".join(f"    {line}".rstrip() for line in text.rstrip().splitlines())
    return f"{title}\n\n{lines}\n"


def texts(setup: ClientSetup, made: Made, *, written: bool) -> str:
    """Put together what is printed."""
    until = f", until {made.expires:%d %B %Y}" if made.expires else ""
    blocks = [f"A token for {made.user}{until}. It can start, see and stop sessions, no more.\n"]
    blocks.append(_block("Install the client:", setup.install))
    if not written:
        blocks.append(_block("Tell it where and who:", setup.variables))
        blocks.append(_block(f"Or, in place of the variables, {CONFIG_PATH}:", setup.config))
    start = f"{setup.create}\n{setup.look}\n{setup.logs}"
    blocks.append(_block("A first batch job:", start))
    blocks.append(_block("From Python:", setup.python))
    blocks.append(
        _block("A workflow of GitHub Actions, with the secret CANFAR_TOKEN:", setup.workflow)
    )
    return "\n".join(blocks)


def client_config(
    *, hub_url: str, user: str, days: int, to_file: bool, environ: Mapping[str, str]
) -> int:
    """Make a token, print what goes with it, and give the exit status.

    Raises
    ------
    ClientConfigError, SettingError
    """
    hub = hub_at(hub_url) if hub_url else hub_here(LocalSettings.read(environ))
    using = credential(environ, sys.stdin, here=not hub_url)
    made = make_token(hub, using, user=user, days=days)
    setup = client_setup(
        service_url=hub.service_url,
        image=_image(hub, made.token, environ),
        token=made.token,
        expires=made.expires,
    )
    if to_file:
        path = Path(CONFIG_PATH).expanduser()
        kept = write(setup.config, path)
        print(f"{path} is written." + (f" The one before is {kept}." if kept else ""))
    print(texts(setup, made, written=to_file), end="")
    return 0


__all__ = ["DAYS", "ClientConfigError", "SettingError", "client_config"]
