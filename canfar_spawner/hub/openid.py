"""Signing in at an OpenID provider, with the claims that identities are made from.

OAuthenticator talks to the provider; here is what it leaves open: who may have which name, that
id token and claims are of the same account of the right issuer, and that a launch is never judged
by groups the provider no longer confirms.
"""

from __future__ import annotations

import json
import logging
import re
import urllib.request
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import jwt
from oauthenticator.generic import GenericOAuthenticator
from pydantic import BaseModel, ValidationError
from tornado import web
from traitlets import Instance, Unicode
from typing_extensions import override

from canfar_spawner.core.errors import SessionError, shown
from canfar_spawner.site.claims import Claims, is_name

_ANSWER_WITHIN: Final = 10.0
_LARGEST: Final = 1_000_000
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_SERVER_ERROR: Final = 500


_SPENT_ONCE: Final = re.compile(r"([?&](?:code|state)=)[^&\s]+")


class NoCodesInLog(logging.Filter):
    """Keeps the codes of sign-ins out of the log: tornado writes whole addresses with refusals."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten a record."""
        message = record.getMessage()
        if "/oauth_callback?" in message:
            record.msg, record.args = _SPENT_ONCE.sub(r"\1[secret]", message), ()
        return True


def keep_codes_out_of_log() -> None:
    """Let `NoCodesInLog` see what JupyterHub and tornado write."""
    for name in ("JupyterHub", "tornado.access", "tornado.application", "tornado.general"):
        logging.getLogger(name).addFilter(NoCodesInLog())


class SignInError(Exception):
    """The hub cannot be started with what it is told about the provider."""


class Provider(BaseModel):
    """What a provider says of itself."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str
    token_endpoint_auth_methods_supported: list[str] = ["client_secret_basic"]

    @property
    def basic_auth(self) -> bool:
        """Whether the client's secret goes into the header, as some providers want it."""
        return "client_secret_post" not in self.token_endpoint_auth_methods_supported


def safe_url(url: str, what: str) -> str:
    """Accept an address that nobody on the way can listen to.

    Raises
    ------
    SignInError
        It is not https, nor on this machine.
    """
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in _LOOPBACK
    if not parts.hostname or not (parts.scheme == "https" or local):
        raise SignInError(f"{what} must be an https address, not {shown(url, limit=200)}.")
    return url


def _fetch(address: str) -> bytes:
    try:
        with urllib.request.urlopen(address, timeout=_ANSWER_WITHIN) as answer:  # noqa: S310 - checked
            return bytes(answer.read(_LARGEST))
    except (OSError, ValueError) as error:
        raise SignInError(f"{address} cannot be read: {error}.") from None


def _provider(content: bytes, issuer: str, address: str) -> Provider:
    try:
        found = Provider.model_validate_json(content)
    except ValidationError as error:
        wrong = ".".join(str(step) for step in error.errors()[0]["loc"]) or "it is not JSON"
        raise SignInError(f"{address} does not describe a provider: {wrong}.") from None
    if found.issuer != issuer:
        raise SignInError(
            f"{address} describes {shown(found.issuer, limit=200)}. The issuer must be written"
            " exactly as the provider does."
        )
    for what in ("authorization_endpoint", "token_endpoint", "userinfo_endpoint"):
        safe_url(getattr(found, what), f"{what} of {issuer}")
    return found


def discover(issuer: str, kept: Path, log: logging.Logger) -> Provider:
    """Ask a provider for its addresses, at the start of the hub.

    Parameters
    ----------
    issuer : str
    kept : Path
        Where the answer is kept: a hub must be able to restart while the provider is away.
    log : logging.Logger

    Raises
    ------
    SignInError
        It did not answer and never has, or its answer cannot be used.
    """
    address = f"{safe_url(issuer, 'The issuer').rstrip('/')}/.well-known/openid-configuration"
    try:
        content = _fetch(address)
    except SignInError as error:
        try:
            found = _provider(kept.read_bytes(), issuer, str(kept))
        except (OSError, SignInError):
            raise error from None
        log.warning("%s Going on with what it said before.", error)
        return found
    found = _provider(content, issuer, address)
    kept.write_text(json.dumps(found.model_dump()))
    return found


class OpenIdAuthenticator(GenericOAuthenticator):  # type: ignore[misc] # ships no types
    """GenericOAuthenticator whose claims are the users' identities."""

    issuer = Unicode(config=True, help="The provider's name for itself.")
    claims = Instance(Claims, config=True, help="Where verified claims are kept.")
    groups_claim = Unicode("groups", config=True, help="The claim of the groups; may be empty.")

    @staticmethod
    def _refusal(sentence: str, detail: str = "") -> web.HTTPError:
        error: Any = web.HTTPError(403, detail or sentence)
        # What pages show; the rest is for the log.
        error.jupyterhub_message = sentence
        return error  # type: ignore[no-any-return]

    @override
    def user_info_to_username(self, user_info: dict[str, Any]) -> str:
        """Take the name exactly as it is; changed in any way it might be somebody else's."""
        name = user_info.get(self.username_claim)
        if not is_name(name):
            raise self._refusal(
                f"Your account has no name that can be used here (claim {self.username_claim}): a"
                " lower-case letter, then up to 31 lower-case letters, digits, dots and dashes.",
                f"The claim {self.username_claim} is {shown(name)}",
            )
        return str(name)

    @override
    def normalize_username(self, username: str) -> str:
        """Change nothing."""
        return username

    @override
    async def token_to_user(self, token_info: dict[str, Any]) -> dict[str, Any]:
        """Ask for the claims, and see that they are of the account that the id token is of."""
        found = await super().token_to_user(token_info)
        if not isinstance(found, dict) or not isinstance(found.get("sub"), str):
            raise self._refusal("The sign-in service did not say whose account this is.")
        token = token_info.get("id_token")
        if token:
            try:
                # It came from the provider itself over TLS, which stands for the signature
                # (OpenID Connect Core 3.1.3.7); it may be older than its end at a refresh.
                said = jwt.decode(
                    token,
                    audience=self.client_id,
                    issuer=self.issuer,
                    options={
                        "verify_signature": False,
                        "verify_aud": True,
                        "verify_iss": True,
                        "require": ["aud", "iss", "sub"],
                    },
                )
            except jwt.InvalidTokenError as error:
                raise self._refusal(
                    "This sign-in is not from the sign-in service of this platform.",
                    f"The id token was refused: {error}",
                ) from None
            if said["sub"] != found["sub"]:
                raise self._refusal("The sign-in service mixed up two accounts. Sign in again.")
        if found.get("iss", self.issuer) != self.issuer:
            raise self._refusal("This sign-in is not from the sign-in service of this platform.")
        return found

    @override
    async def get_user_groups(self, auth_state: dict[str, Any]) -> set[str]:
        """Give the names of the groups to JupyterHub; broken entries are judged at launches."""
        entries = auth_state[self.user_auth_state_key].get(self.groups_claim)
        names = [
            entry.get("name") if isinstance(entry, dict) else entry
            for entry in (entries if isinstance(entries, list) else [])
        ]
        return {name for name in names if isinstance(name, str) and is_name(name)}

    def _keep(self, model: dict[str, Any]) -> None:
        claims = model["auth_state"][self.user_auth_state_key]
        self.claims.keep(model["name"], subject=claims["sub"], claims=claims)

    @override
    async def run_post_auth_hook(self, handler: Any, auth_model: Any) -> Any:
        """Keep the claims of whoever has been let in."""
        model = await super().run_post_auth_hook(handler, auth_model)
        if not model["auth_state"].get("id_token"):
            raise self._refusal(
                "The sign-in service gave no id token.", "Is openid among the scopes?"
            )
        try:
            self._keep(model)
        except SessionError as error:
            raise self._refusal(error.sentence, error.detail) from None
        return model

    async def _renew(self, name: str, model: dict[str, Any]) -> None:
        """Keep the claims of whoever is still the same and still let in."""
        if model["name"] != name:
            raise self._refusal("The name of this account has changed.")
        if not await self.check_allowed(name, model):
            raise self._refusal("This account may no longer sign in.")
        self._keep(model)

    @override
    async def refresh_user(self, user: Any, handler: Any = None, **kwargs: Any) -> Any:
        """Ask the provider again, at each launch and every few minutes.

        What it does not confirm is never used for a launch. Pages go on while it is away.
        """
        try:
            found = await super().refresh_user(user, handler, **kwargs)
            if found:
                await self._renew(user.name, found)
                return found
        except Exception as error:  # noqa: BLE001 - whatever happened, nothing is confirmed
            refused = isinstance(error, SessionError) or (
                isinstance(error, web.HTTPError) and error.status_code < _SERVER_ERROR
            )
            self.log.warning("The sign-in of %s could not be renewed: %s", user.name, error)
            if not refused:
                self.claims.doubt_unavailable(user.name)
                return True
        self.claims.doubt_ended(user.name)
        # A launch comes to the gate and is refused there with a sentence, a page to the login.
        return handler is not None and handler.request.method == "POST"

    @override
    def delete_user(self, user: Any) -> None:
        """Forget the claims of a user whom the hub deletes."""
        super().delete_user(user)
        self.claims.forget(user.name)
